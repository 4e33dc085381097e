"""Shows all that is known of one call: `show`. Nothing here changes anything."""

from gettext import gettext, pgettext
from gettext import gettext as _

import click
from rich.console import Console
from rich.text import Text

from retention.archive import is_nameless
from retention.holds import is_overdue
from retention.purge import due
from retention.records import Access, Hold, Json, Note, Receipt, Recording, Status, reference_of, terms
from sipagent.cli.program import Workplace, id_argument, json_option, meant, now, print_json
from sipagent.cli.terminal import (
    coded,
    console,
    distance,
    full,
    in_seconds,
    marks_of,
    outcome,
    show_fields,
    size,
)
from sipagent.config.identity import printable
from sipagent.languages.labels import (
    decided,
    detail_of,
    fate_of_copy,
    happening,
    how_decided,
    how_drawn,
    identity,
    label,
    length,
    lines,
    missing_sound,
    user_part,
)
from sipagent.operations.persons import Shown, show

Fields = list[tuple[str, str | Text | None]]

_WHOLE = 1 << 16  # characters: a path, or an analysis, must be shown in full


@click.command("show")
@id_argument
@json_option
@click.pass_obj
def show_command(work: Workplace, id: str, as_json: bool) -> None:
    """Show everything known of one: its call, hold, analyses, every exported copy and every use of it.

    The id of a call that was not recorded shows its receipt. As everywhere, the reference of the call will do
    for its id, and so will a beginning that no other has.

    \b
    Examples:
      sipagent show 20261124T222000123-482913
      sipagent show 482913
    """
    archive = work.archive()
    known = show(archive, meant(archive, id), work.terms.period)
    if as_json:
        print_json(known.to_json())
    else:
        _show(work, known, console())


def _show(work: Workplace, known: Shown, screen: Console) -> None:
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
        for line in filter(None, (how_drawn(event.what) for event in receipt.events)):
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
        _line(f"    {printable(fate_of_copy(copy, full(work.local(copy.at))), _WHOLE)}", screen)
    uses: Fields = [(full(work.local(use.at)), _use(use)) for use in known.accesses]
    show_fields(uses or [(_("none so far"), " ")], screen, _("Uses"))


def _title(text: str, screen: Console) -> None:
    screen.print(Text(f"\n{text}", style="bold"))


def _line(text: str, screen: Console) -> None:
    """The whole value, even a long one: to be read, or copied."""
    screen.print(Text(text), soft_wrap=True)


def _show_note(work: Workplace, note: Note, screen: Console) -> None:
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


def _recording_fields(work: Workplace, known: Shown, row: Recording) -> Fields:
    present = now()
    span = _("{first} to {last}")
    pauses = ", ".join(span.format(first=length(one.from_s), last=length(one.to_s)) for one in row.pauses)
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
        (_("length"), length(row.duration_s)),
        (_("caller"), row.caller),
        (_("called"), row.called),
        (_("operator"), " → ".join(row.each_operator) or None),
        *_still_sealed(known, row),
        (_("decision"), coded("decision", row.decision)),
        (_("notice"), f"{row.notice.file} (SHA-256 {row.notice.sha256})" if row.notice else None),
        *((name, f"{one.file} (SHA-256 {one.sha256})") for name, one in told.items() if one),
        (_("paused"), pauses or _("never")),
        *missing_sound(row),
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


def _hold_fields(work: Workplace, row: Recording, hold: Json) -> Fields:
    day = str(hold.get("review"))
    late = _("{day}, OVERDUE").format(day=day) if is_overdue(row, work.local(now()).date()) else day
    told = hold | {"ground": coded("ground", hold.get("ground")), "review": late}
    return [(gettext(name.replace("_", " ")), told.get(name)) for name in terms(Hold)]


def _receipt_fields(work: Workplace, row: Receipt) -> Fields:
    def local(name: str) -> str | None:
        at = getattr(row, name)
        return at and full(work.local(at))

    played, how = row.notice_played_ms, how_decided(row)
    return [
        (_("outcome"), outcome(row)),
        (_("decision"), decided(row)),
        *([(_("how"), how)] if how else []),
        *([(_("not recorded, or less"), coded("because", why))] if (why := row.not_recorded_because) else []),
        (_("decided"), local("decided_at")),
        (_("notice played"), None if played is None else in_seconds(played / 1000)),
        (_("began"), local("started_at")),
        (pgettext("when", "answered"), local("answered_at")),
        (pgettext("when", "connected"), local("connected_at")),
        (_("ended"), local("ended_at")),
        (_("caller"), row.caller),
        *([(_("number"), known)] if (known := identity(row)) else []),
        (_("called"), row.called),
        (_("operator"), " → ".join(row.each_operator) or None),
        *lines(row),
    ]


def _event(what: str, by: str | None) -> str:
    told = happening(what)
    return f"{told} ({label('who', str(user_part(by)))})" if by else told


def _use(use: Access) -> str:
    """`export for quality by M. Durand (root): done, both to /home/durand/call.wav`."""
    words = [label("action", use.action)]
    words += [_("for {purpose}").format(purpose=label("purpose", use.purpose))] if use.purpose else []
    words += [_("by {who}").format(who=use.by)] if use.by else []
    known = use.login or use.system_user
    words += [f"({known})"] if known else []
    reference = _("reference {reference}").format(reference=use.reference) if use.reference else None
    rest = ", ".join(filter(None, (label("use", use.outcome), reference, detail_of(use))))
    return _("{use}: {rest}").format(use=" ".join(words), rest=rest)
