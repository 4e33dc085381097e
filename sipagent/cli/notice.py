"""What callers hear before they are recorded, `notice`, when the service takes calls, `hours`, and what is
different today, `today`."""

import textwrap
from dataclasses import replace
from datetime import datetime
from gettext import gettext as _
from gettext import pgettext
from typing import Any

import click

from retention.records import Json, to_text
from sipagent.cli import program, terminal
from sipagent.cli.options import options_read
from sipagent.config.hours import OpeningState, Schedule, closures
from sipagent.operations.parsing import Unreadable, parse_moment, read_field
from sipagent.operations.today import PlannedSpecial, SpecialWanted, end_special, planned, set_special
from sipagent.text.notice import SpokenNotice, spoken_notices


@click.command("notice")
@click.option(
    "--lint", is_flag=True, help="Check words and sound of every prompt in use; exit 1 on an error."
)
@program.json_option
@click.pass_obj
def notice_command(work: program.Workplace, *, lint: bool, as_json: bool) -> int:
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

        return terminal.show_findings(list(check_notice.lint(config)), as_json=as_json)
    notices = spoken_notices(config)
    if as_json:
        program.print_json([_notice_json(notice, work) for notice in notices])
        return 0
    screen = terminal.console()
    for notice in notices:
        ways = ", ".join((*notice.numbers, *(_("key {key}").format(key=key) for key in notice.keys)))
        narrowed = ways and notice.language != config.service.language  # which all other callers hear
        title = f"{notice.language}: {ways}" if narrowed else notice.language
        terminal.show_fields(_fields(notice, work), screen, title)
    return 0


def _fields(notice: SpokenNotice, work: program.Workplace) -> list[tuple[str, str | None]]:
    json = _notice_json(notice, work)
    lines: list[str] | list[None] = textwrap.wrap(json["words"] or "", 100) or [None]
    details = json["details"] or {}
    told = textwrap.wrap(details.get("words") or "", 100)
    return [
        (_("file"), json["file"]),
        (_("length"), terminal.in_seconds(json["duration_s"])),
        ("sha256", json["sha256"]),
        *(("" if place else _("words"), line) for place, line in enumerate(lines)),
        *([(_("details"), details["file"]), ("sha256", details["sha256"])] if details else []),
        *(("" if place else _("words"), line) for place, line in enumerate(told)),
    ]


def _notice_json(notice: SpokenNotice, work: program.Workplace) -> dict[str, Any]:
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
@program.json_option
@click.pass_obj
def hours_command(work: program.Workplace, at_text: str | None, as_json: bool) -> None:
    """Say whether the service takes calls, what of [hours] makes it so, and until when.

    \b
    Examples:
      sipagent hours
      sipagent hours --at 2026-12-25T10:00 --json
    """
    zone, at = work.config.service.timezone, _moment(work, at_text)
    specials = work.archive().store.specials()
    schedule = replace(work.config.schedule(), today=closures(specials))
    state, until = schedule.state(at), schedule.next_change(at)
    if as_json:
        program.print_json(_hours_json(at, schedule, state, until))
        return
    terminal.show_fields(
        (
            (_("at"), f"{terminal.full(at.astimezone(zone))} {zone}"),
            (_("state"), pgettext("service", "open") if state.open else pgettext("service", "closed")),
            (_("why"), _why(state)),
            (_("until"), _until(at, until, work)),
        ),
        terminal.console(),
    )


def _moment(work: program.Workplace, text: str | None) -> datetime:
    if text is None:
        return program.now()

    def read(typed: str) -> datetime:
        at = parse_moment(typed, program.now(), work.config.service.timezone)
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
            return said.format(day=_(day), hours=hours)
        case "holiday":
            return f"hours.holidays: {state.what}"
        case "closed":
            return f"hours.closed: {state.what}"
        case "today":
            return _("closed by `sipagent today`")


@click.command("today")
@click.option("--closed", is_flag=True, help="It is closed: callers hear prompts.closed.")
@click.option(
    "--message", metavar="NAME", type=program.words, help="One of prompts.messages, before the notice."
)
@click.option("--from", "since", metavar="TIME", help="Absent: from now on.")
@click.option("--until", metavar="TIME", help="17:00, tomorrow, 2026-12-24 (that day included), 2h.")
@click.option("--remove", type=int, metavar="N", help="Take back what has this number in the list.")
@program.words_by_option
@program.form_option
@click.pass_obj
def today_command(
    work: program.Workplace,
    /,
    *,
    closed: bool,
    message: str | None,
    since: str | None,
    until: str | None,
    remove: int | None,
    by: str | None,
    form: program.Form | None,
) -> None:
    """Close for a while, or have callers hear a message before the notice; else list what is set.

    It is in force within seconds on every host, and ends by itself. A closure goes before any message; of
    several messages the one that was set last is heard. It is in the trace.

    \b
    Examples:
      sipagent today --closed --until 17:00
      sipagent today --message flood --from "tomorrow 8:30" --until 2026-12-24
      sipagent today --remove 3
    """
    _one_order(closed, message, until, remove)
    store = work.archive(make=until is not None).store
    if remove is not None:
        end_special(work.config, store, remove, program.attempt("today", by=by))
    elif until is not None:
        wanted = SpecialWanted(message=message, since=since, until=until)
        with options_read():
            set_special(work.config, store, wanted, program.attempt("today", by=by))
    rows = planned(store, program.now())
    if terminal.is_for_table(rows, _("Nothing is different."), form):
        terminal.show_table(rows, _today_columns(work), terminal.console())


def _one_order(closed: bool, message: str | None, until: str | None, remove: int | None) -> None:
    """Raises click.UsageError unless the options say one thing."""
    wanted = closed + (message is not None) + (remove is not None)
    said = ""
    if wanted > 1 or (remove is not None and until is not None):
        said = _("several things at once; accepted: --closed, --message NAME or --remove N")
    elif until is not None and not wanted:
        said = _("--until: of what? accepted: --closed or --message NAME with it")
    elif (closed or message is not None) and until is None:
        said = _("--until: missing; accepted: 17:00, tomorrow, 2026-12-24, 2h")
    if said:
        raise click.UsageError(said)


def _today_columns(work: program.Workplace) -> list[terminal.Column[PlannedSpecial]]:
    def state(one: PlannedSpecial) -> str:
        if one.in_force:
            return _("in force")
        return _("to come") if one.from_at > program.now() else _("behind another")

    closed = pgettext("service", "closed")
    return [
        terminal.Column("n", lambda one: str(one.number), right=True),
        terminal.Column(
            "what", lambda one: _("message {name}").format(name=one.message) if one.message else closed
        ),
        terminal.Column("from", lambda one: terminal.full(work.local(one.from_at))),
        terminal.Column("until", lambda one: terminal.full(work.local(one.until_at))),
        terminal.Column("state", state),
    ]


def _until(at: datetime, until: datetime | None, work: program.Workplace) -> str:
    if until is None:
        return _("no change within two years")
    return f"{terminal.full(work.local(until))}, {terminal.distance(until, at)}"
