"""When the service takes calls: `hours`."""

from datetime import datetime
from gettext import gettext as _
from gettext import pgettext

import click

from retention.recording import Json, to_text
from sipagent.cli.base import Workplace, json_option, now, print_json
from sipagent.cli.tables import console, show_fields
from sipagent.cli.times import distance, full
from sipagent.config.hours import Schedule, State
from sipagent.lookup.moments import parse_moment

_YEARS = range(1970, 2100)  # the languages of the calendars of holidays


@click.command("hours", short_help="Whether the service is open, why, and until when.")
@click.option("--at", "at_text", metavar="TIME", help="Then instead of now: 2026-12-25T10:00, a date.")
@json_option
@click.pass_obj
def hours_command(work: Workplace, at_text: str | None, as_json: bool) -> None:
    """Say whether the service takes calls, what of [hours] makes it so, and until when.

    \b
    Examples:
      sipagent hours
      sipagent hours --at 2026-12-25T10:00 --json
    """
    zone, at = work.config.service.timezone, _moment(work, at_text)
    schedule = work.config.schedule()
    state, until = schedule.state(at), schedule.next_change(at)
    if as_json:
        print_json(_json(at, schedule, state, until))
        return
    show_fields(
        (
            (_("at"), f"{full(at.astimezone(zone))} {zone}"),
            (_("state"), pgettext("service", "open") if state.open else pgettext("service", "closed")),
            (_("why"), _why(state)),
            (_("until"), _until(at, until, work)),
        ),
        console(),
    )


def _moment(work: Workplace, text: str | None) -> datetime:
    if text is None:
        return now()
    try:
        at = parse_moment(text, now(), work.config.service.timezone)
        if at.year not in _YEARS:
            said = _("{text!r} is not in the years {first} to {last}")
            raise ValueError(said.format(text=text, first=_YEARS.start, last=_YEARS.stop - 1))
    except ValueError as error:
        raise click.UsageError(
            _("{option}: {problem}").format(option="--at", problem=error), click.get_current_context()
        ) from error
    return at


def _json(at: datetime, schedule: Schedule, state: State, until: datetime | None) -> Json:
    return {
        "at": to_text(at),
        "timezone": str(schedule.timezone),
        "open": state.open,
        "reason": state.reason,
        "what": state.what or None,
        "until": until and to_text(until),
    }


def _why(state: State) -> str:
    match state.reason:
        case "always":
            return _("hours.week is absent: open day and night")
        case "week":
            day, *rest = state.what.split(" ", 1)
            hours = "".join(rest)
            said = _("hours.week: {day} {hours}") if hours else _("hours.week: {day} closed all day")
            return said.format(day=day, hours=hours)
        case "holiday":
            return f"hours.holidays: {state.what}"
        case "closed":
            return f"hours.closed: {state.what}"


def _until(at: datetime, until: datetime | None, work: Workplace) -> str:
    if until is None:
        return _("no change within two years")
    return f"{full(work.local(until))}, {distance(until, at)}"
