"""Lists what is kept: `list`, `calls`; who used what, when and why: `accesses`; all that is known of one
call: `show`. Nothing here changes anything."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from gettext import gettext, ngettext, pgettext
from gettext import gettext as _
from itertools import islice
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from retention.archive import is_nameless
from retention.holds import is_overdue
from retention.purge import due
from retention.records import Access, Hold, Json, Note, Receipt, Recording, Status, Sum, reference_of, terms
from retention.rows.counts import LOST, REJECTED
from retention.rows.rows import Rows
from retention.rows.selection import Selection
from sipagent.cli import program
from sipagent.cli.options import MOMENT, filter_options, limit_option, period_of, selection
from sipagent.cli.terminal import (
    WIDE,
    WIDER,
    Column,
    coded,
    console,
    distance,
    figure,
    full,
    in_seconds,
    is_for_table,
    marks_of,
    newest,
    outcome,
    receipt_columns,
    recording_columns,
    show_fields,
    show_table,
    size,
)
from sipagent.config.identity import printable
from sipagent.languages import labels
from sipagent.operations.persons import Shown, show

OUTCOMES = ("connected", "transferred", "abandoned", "closed", "unavailable", "rejected", "failed")
DECISIONS = ("allowed", "refused", "not_allowed", "undecided")


@click.command("list")
@filter_options
@program.form_option
@click.pass_obj
def list_command(work: program.Workplace, /, form: program.Form | None, **options: Any) -> None:
    """List recordings, the newest first.

    \b
    Examples:
      sipagent list --since yesterday
      sipagent list --caller "06 12 34 56 78" --json
      sipagent list --reference 482913
    """
    store, chosen = work.archive().store, selection(work, **options)
    rows = store.recordings(chosen)
    screen = console()
    if is_for_table(rows, _("No recording matches."), form):
        show_table(newest(rows, screen, options["limit"]), recording_columns(work, rows, screen), screen)
        in_all = ngettext("{n} recording", "{n} recordings", len(rows)).format(n=len(rows))
        screen.print(f"\n{labels.of_them_there(in_all, rows, size)}", style="dim")
    # a person's request concerns these, too
    if (options["caller"] or options["reference"]) and not form:
        others = sum(call.recording_id is None for call in store.each_receipt(chosen))
        if others:
            said = ngettext(
                "Not recorded, but kept: {n} call, see `sipagent calls`.",
                "Not recorded, but kept: {n} calls, see `sipagent calls`.",
                others,
            )
            screen.print(said.format(n=others))


@click.command("calls")
@filter_options
@click.option("--outcome", type=click.Choice(OUTCOMES), help="How the call ended.")
@click.option("--decision", type=click.Choice(DECISIONS), help="Whether it could be recorded.")
@click.option("--sums", is_flag=True, help="Those that are counted together, and have no receipt each.")
@program.form_option
@click.pass_obj
def calls_command(work: program.Workplace, /, form: program.Form | None, sums: bool, **options: Any) -> None:
    """List the receipts of all calls, recorded or not, the newest first.

    Of rejected calls the first thousand an hour have receipts; what comes beyond is counted together, a line
    a minute (--sums).

    \b
    Examples:
      sipagent calls --since 7d --decision refused
      sipagent calls --since 2026-11-24 --until 2026-11-24 --json
      sipagent calls --sums --since 7d
    """
    store, chosen = work.archive().store, selection(work, **options)
    together = list(_together(store, chosen))[::-1]
    if sums:
        _show_sums(work, together[: options["limit"]], form)
        return
    rows = store.receipts(chosen)
    screen = console()
    if is_for_table(rows, _("No call matches."), form):
        show_table(newest(rows, screen, options["limit"]), receipt_columns(work, screen), screen)
        said = ngettext("{n} call", "{n} calls", len(rows)).format(n=len(rows))
        screen.print(f"\n{said}", style="dim")
    if form:
        return
    count = sum(one.count for one in together if one.what == REJECTED)
    if count:
        said = ngettext(
            "{n} rejected call is counted with others: see `sipagent calls --sums`.",
            "{n} rejected calls are counted together: see `sipagent calls --sums`.",
            count,
        )
        screen.print(said.format(n=figure(count)))
    count = sum(one.count for one in together if one.what == LOST)
    if count:
        said = ngettext(
            "{n} receipt was lost: see `sipagent calls --sums`.",
            "{n} receipts were lost: see `sipagent calls --sums`.",
            count,
        )
        screen.print(said.format(n=figure(count)))


def _together(store: Rows, chosen: Selection) -> Iterator[Sum]:
    """The part that is counted in sums, which only tell when, how many and with which answer."""
    asked = replace(chosen, since=None, until=None, limit=None, outcome=None, decision=None)
    may_be = chosen.outcome in (None, "rejected") and chosen.decision in (None, "undecided")
    return store.each_sum(chosen.since, chosen.until) if may_be and asked == Selection() else iter(())


def _show_sums(work: program.Workplace, sums: Sequence[Sum], form: program.Form | None) -> None:
    columns: list[Column[Sum]] = [
        Column("from", lambda one: full(work.local(one.from_at))),
        Column("until", lambda one: full(work.local(one.until_at))),
        Column("calls", lambda one: figure(one.count), right=True),
        Column("what", lambda one: coded("sum", one.what)),
        Column("answered", lambda one: None if one.code is None else str(one.code)),
        Column("by", lambda one: one.by),
    ]
    if is_for_table(sums, _("No call is counted so."), form):
        show_table(sums, columns, console())


_USES = ("begun", "done", "refused", "failed")


@click.command("accesses")
@program.optional_id_argument
@click.option("--since", metavar="TIME", help=f"At or after: {MOMENT}.")
@click.option("--until", metavar="TIME", help="Before; a date alone includes that day.")
@click.option(
    "--by", metavar="WHO", help="A name that was given, a login, or a user of the system; or a part."
)
@click.option("--action", metavar="A", help="export, play, delete, purge, hold, rotate, …")
@click.option("--purpose", metavar="P", help="What it was for.")
@click.option("--outcome", type=click.Choice(_USES), help="What came of it.")
@limit_option
@program.form_option
@click.pass_obj
def accesses_command(
    work: program.Workplace,
    /,
    id: str | None,
    *,
    since: str | None,
    until: str | None,
    by: str | None,
    action: str | None,
    purpose: str | None,
    outcome: str | None,
    limit: int | None,
    form: program.Form | None,
) -> None:
    """List every use of recordings, or of one: what, who, when, why; begun, done, refused or failed.

    The newest come first.

    \b
    Examples:
      sipagent accesses --since 7d
      sipagent accesses 20261124T222000123-482913 --action export --json
    """
    period = period_of(work, since, until)
    archive = work.archive()
    store = archive.store
    if id is not None and next(store.each_access(id), None) is None:  # those of a lost row still exist
        id = program.meant(archive, id)
    fits = _choice(period, by, {"action": action, "purpose": purpose, "outcome": outcome})
    # in the order of the trace, which does not depend on a clock
    rows = list(islice(filter(fits, store.each_access(id, newest=True)), limit))
    if is_for_table(rows, _("No use matches."), form):
        screen = console()
        show_table(newest(rows, screen, limit), _use_columns(work), screen)
        said = ngettext("{n} use", "{n} uses", len(rows)).format(n=len(rows))
        screen.print(f"\n{said}", style="dim")


def _choice(period: Selection, by: str | None, equal: Mapping[str, str | None]) -> Callable[[Access], bool]:
    who, first, end = by and by.casefold(), period.since, period.until

    def fits(row: Access) -> bool:
        names = "\n".join(filter(None, (row.by, row.system_user, row.login))).casefold()
        return (
            (first is None or row.at >= first)
            and (end is None or row.at < end)
            and (who is None or who in names)
            and all(value in (None, getattr(row, name)) for name, value in equal.items())
        )

    return fits


def _who(row: Access) -> str | None:
    """The name given; without one the account's or the system's, in brackets."""
    known = row.login or row.system_user
    return row.by or (f"({known})" if known else None)


def _use_columns(work: program.Workplace) -> list[Column[Access]]:
    return [
        Column("at", lambda row: full(work.local(row.at))),
        Column("action", lambda row: coded("action", row.action)),
        Column("outcome", lambda row: coded("use", row.outcome)),
        Column("recording", lambda row: row.recording_id),
        Column("purpose", lambda row: coded("purpose", row.purpose), shrinks=True),
        Column("by", _who, shrinks=True),
        Column("user", lambda row: row.login or row.system_user, room=WIDE, shrinks=True),
        Column("reference", lambda row: row.reference, room=WIDE, shrinks=True),
        Column("detail", lambda row: labels.detail_of(row) or None, room=WIDER, wraps=True),
    ]


Fields = list[tuple[str, str | Text | None]]

_WHOLE = 1 << 16  # characters: a path, or an analysis, must be shown in full


@click.command("show")
@program.id_argument
@program.json_option
@click.pass_obj
def show_command(work: program.Workplace, id: str, as_json: bool) -> None:
    """Show everything known of one: its call, hold, analyses, every exported copy and every use of it.

    The id of a call that was not recorded shows its receipt. As everywhere, the reference of the call will do
    for its id, and so will a beginning that no other has.

    \b
    Examples:
      sipagent show 20261124T222000123-482913
      sipagent show 482913
    """
    archive = work.archive()
    known = show(archive, program.meant(archive, id), work.terms.period)
    if as_json:
        program.print_json(known.to_json())
    else:
        _show(work, known, console())


def _show(work: program.Workplace, known: Shown, screen: Console) -> None:
    row, receipt = known.recording, known.receipt
    own: Fields = (
        _recording_fields(work, known, row) if row else [("id", known.id), (_("recording"), _("none"))]
    )
    show_fields([*own[:1], (_("reference"), reference_of(known.id)), *own[1:]], screen)
    if row is not None and row.hold is not None:
        show_fields(_hold_fields(work, row, row.hold), screen, _("Hold"))
    if receipt is not None:
        show_fields(_receipt_fields(work, receipt), screen, _("Call"))
        if receipt.events:
            events: Fields = [
                (full(work.local(event.at)), _event(event.what, event.by)) for event in receipt.events
            ]
            show_fields(events, screen, _("What happened"))
        for line in filter(None, (labels.how_drawn(event.what) for event in receipt.events)):
            _title(_("How it was drawn"), screen)
            _line(f"  {line}", screen)
    if known.notes:
        _title(_("Analyses"), screen)
    for note in known.notes:
        _show_note(work, note, screen)
    if known.copies:
        _title(_("Exported copies"), screen)
    for copy in known.copies:
        _line(f"  {printable(copy.path, _WHOLE)}", screen)
        _line(f"    {printable(labels.fate_of_copy(copy, full(work.local(copy.at))), _WHOLE)}", screen)
    uses: Fields = [(full(work.local(use.at)), _use(use)) for use in known.accesses]
    show_fields(uses or [(_("none so far"), " ")], screen, _("Uses"))


def _title(text: str, screen: Console) -> None:
    screen.print(Text(f"\n{text}", style="bold"))


def _line(text: str, screen: Console) -> None:
    """The whole value, even a long one: to be read, or copied."""
    screen.print(Text(text), soft_wrap=True)


def _show_note(work: program.Workplace, note: Note, screen: Console) -> None:
    until = f"{work.local(note.expires_at):%Y-%m-%d}"
    when = full(work.local(note.at))
    if note.text is None:
        said = _("{when}: forgotten, it was kept until {until}").format(when=when, until=until)
        _line(f"  {said}", screen)
        return
    said = _("{when} by {who}, kept until {until}")
    _line(f"  {said.format(when=when, who=printable(note.by or '–'), until=until)}", screen)
    for line in note.text.splitlines():
        _line(f"    {printable(line.expandtabs(4), _WHOLE)}", screen)


def _recording_fields(work: program.Workplace, known: Shown, row: Recording) -> Fields:
    present = program.now()
    span = _("{first} to {last}")
    pauses = ", ".join(
        span.format(first=labels.length(one.from_s), last=labels.length(one.to_s)) for one in row.pauses
    )
    gone = row.purged_at and f"{full(work.local(row.purged_at))}, {distance(row.purged_at, present)}"
    due_at = due(row, work.terms.period)
    told = (
        {_("its details"): row.notice.details, _("message before it"): row.notice.message}
        if row.notice
        else {}
    )
    sooner = _("; the period was shortened") if due_at < row.expires_at else ""
    return [
        ("id", row.id),
        (_("status"), coded("status", row.status)),
        (_("began"), f"{full(work.local(row.started_at))}, {distance(row.started_at, present)}"),
        (_("length"), labels.length(row.duration_s)),
        (_("caller"), row.caller),
        (_("called"), row.called),
        (_("operator"), " → ".join(row.each_operator) or None),
        *_still_sealed(known, row),
        (_("decision"), coded("decision", row.decision)),
        (_("notice"), f"{row.notice.file} (SHA-256 {row.notice.sha256})" if row.notice else None),
        *((name, f"{one.file} (SHA-256 {one.sha256})") for name, one in told.items() if one),
        (_("paused"), pauses or _("never")),
        *labels.missing_sound(row),
        (_("marks"), marks_of(row) or _("none")),
        *([(_("hold"), _("none"))] if row.hold is None else []),
        (_("file"), row.path and f"{row.path} ({size(row.bytes)})"),
        *([(_("sealed to"), ", ".join(known.sealed_to) or None)] if known.sealed_to is not None else []),
        ("SHA-256", row.sha256),
        (_("expires"), f"{full(work.local(due_at))}, {distance(due_at, present)}{sooner}"),
        *([(_("purged"), gone)] if gone else []),
        ("Call-ID", row.call_id),
    ]


def _still_sealed(known: Shown, row: Recording) -> Fields:
    if known.sealed_to is None or row.status is not Status.CLOSED or not is_nameless(row):
        return []
    return [(_("people"), _("still sealed since the rebuild: `sipagent rebuild --identity KEYFILE`"))]


def _hold_fields(work: program.Workplace, row: Recording, hold: Json) -> Fields:
    day = str(hold.get("review"))
    late = _("{day}, OVERDUE").format(day=day) if is_overdue(row, work.local(program.now()).date()) else day
    told = hold | {"ground": coded("ground", hold.get("ground")), "review": late}
    return [(gettext(name.replace("_", " ")), told.get(name)) for name in terms(Hold)]


def _receipt_fields(work: program.Workplace, row: Receipt) -> Fields:
    def local(name: str) -> str | None:
        at = getattr(row, name)
        return at and full(work.local(at))

    played, how = row.notice_played_ms, labels.how_decided(row)
    return [
        (_("outcome"), outcome(row)),
        (_("decision"), labels.decided(row)),
        *([(_("how"), how)] if how else []),
        *([(_("not recorded, or less"), coded("because", why))] if (why := row.not_recorded_because) else []),
        (_("decided"), local("decided_at")),
        (_("notice played"), None if played is None else in_seconds(played / 1000)),
        (_("began"), local("started_at")),
        (pgettext("when", "answered"), local("answered_at")),
        (pgettext("when", "connected"), local("connected_at")),
        (_("ended"), local("ended_at")),
        (_("caller"), row.caller),
        *([(_("number"), known)] if (known := labels.identity(row)) else []),
        (_("called"), row.called),
        (_("operator"), " → ".join(row.each_operator) or None),
        *labels.lines(row),
    ]


def _event(what: str, by: str | None) -> str:
    told = labels.happening(what)
    return f"{told} ({labels.label('who', str(labels.user_part(by)))})" if by else told


def _use(use: Access) -> str:
    """`export for quality by M. Durand (root): done, both to /home/durand/call.wav`."""
    words = [labels.label("action", use.action)]
    words += [_("for {purpose}").format(purpose=labels.label("purpose", use.purpose))] if use.purpose else []
    words += [_("by {who}").format(who=use.by)] if use.by else []
    known = use.login or use.system_user
    words += [f"({known})"] if known else []
    reference = _("reference {reference}").format(reference=use.reference) if use.reference else None
    rest = ", ".join(filter(None, (labels.label("use", use.outcome), reference, labels.detail_of(use))))
    return _("{use}: {rest}").format(use=" ".join(words), rest=rest)
