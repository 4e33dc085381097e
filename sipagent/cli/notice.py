"""What callers hear before they are recorded, `notice`, and when the service takes calls, `hours`."""

import textwrap
from datetime import datetime
from gettext import gettext as _
from gettext import pgettext
from typing import Any

import click

from retention.records import Json, to_text
from sipagent.cli.options import options_read
from sipagent.cli.program import Workplace, json_option, now, print_json
from sipagent.cli.terminal import console, distance, full, in_seconds, show_fields, show_findings
from sipagent.config.hours import OpeningState, Schedule
from sipagent.operations.parsing import Unreadable, parse_moment, read_field
from sipagent.text.notice import SpokenNotice, spoken_notices


@click.command("notice")
@click.option(
    "--lint", is_flag=True, help="Check words and sound of every prompt in use; exit 1 on an error."
)
@json_option
@click.pass_obj
@click.pass_context
def notice_command(ctx: click.Context, work: Workplace, *, lint: bool, as_json: bool) -> None:
    """Show the notice of each language, with its length and hash; or check what callers hear.

    --lint reads the words in the .txt beside each sound: who records, that the call is recorded, what for,
    how long it is kept, how to refuse (or accept), and that no prompt promises what the agent does not do.
    And it listens: as long as its words, loud enough, not clipped.

    \b
    Examples:
      sipagent notice
      sipagent notice --lint
    """
    config = work.config
    if lint:
        from sipagent.check import notice as check_notice

        ctx.exit(show_findings(list(check_notice.lint(config)), as_json=as_json))
    notices = spoken_notices(config)
    if as_json:
        print_json([_notice_json(notice, work) for notice in notices])
        return
    screen = console()
    for notice in notices:
        ways = ", ".join((*notice.numbers, *(_("key {key}").format(key=key) for key in notice.keys)))
        narrowed = ways and notice.language != config.service.language  # which all other callers hear
        title = f"{notice.language}: {ways}" if narrowed else notice.language
        show_fields(_fields(notice, work), screen, title)


def _fields(notice: SpokenNotice, work: Workplace) -> list[tuple[str, str | None]]:
    json = _notice_json(notice, work)
    lines: list[str] | list[None] = textwrap.wrap(json["words"] or "", 100) or [None]
    details = json["details"] or {}
    told = textwrap.wrap(details.get("words") or "", 100)
    return [
        (_("file"), json["file"]),
        (_("length"), in_seconds(json["duration_s"])),
        ("sha256", json["sha256"]),
        *(("" if place else _("words"), line) for place, line in enumerate(lines)),
        *([(_("details"), details["file"]), ("sha256", details["sha256"])] if details else []),
        *(("" if place else _("words"), line) for place, line in enumerate(told)),
    ]


def _notice_json(notice: SpokenNotice, work: Workplace) -> dict[str, Any]:
    """`file` is relative to the configuration if below it, as in a recording's row."""
    return {
        "language": notice.language,
        "numbers": list(notice.numbers),
        "keys": list(notice.keys),
        "file": work.config.named(notice.prompt.path),
        "duration_s": notice.prompt.duration_ms / 1000,
        "sample_rate": notice.prompt.rate,
        "sha256": notice.prompt.sha256,
        "words": notice.prompt.words,
        "essential_s": notice.prompt.essential_ms / 1000,
        "details": notice.details
        and {
            "file": work.config.named(notice.details.path),
            "duration_s": notice.details.duration_ms / 1000,
            "sha256": notice.details.sha256,
            "words": notice.details.words,
        },
    }


_YEARS = range(1970, 2100)  # the languages of the calendars of holidays


@click.command("hours")
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
        print_json(_hours_json(at, schedule, state, until))
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

    def read(typed: str) -> datetime:
        at = parse_moment(typed, now(), work.config.service.timezone)
        if at.year not in _YEARS:
            raise Unreadable("{0!r} is not in the years {1} to {2}", typed, _YEARS.start, _YEARS.stop - 1)
        return at

    with options_read():
        return read_field("at", text, read)


def _hours_json(at: datetime, schedule: Schedule, state: OpeningState, until: datetime | None) -> Json:
    return {
        "at": to_text(at),
        "timezone": str(schedule.timezone),
        "open": state.open,
        "reason": state.reason,
        "what": state.what or None,
        "until": until and to_text(until),
    }


def _why(state: OpeningState) -> str:
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
