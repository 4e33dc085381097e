"""Looking at what is kept: `list`, `show`, `calls`. Nothing here changes anything."""

from typing import Any

import click

from retention.recording import Access, Json, Receipt, Recording
from retention.store import Store, UnknownId
from sipagent.cli_base import Failure, Workplace, id_argument, json_option, now, print_json
from sipagent.cli_filters import filter_options, selection
from sipagent.cli_tables import (
    console,
    newest,
    receipt_columns,
    recording_columns,
    show_fields,
    show_table,
    user_part,
)
from sipagent.cli_times import counted, distance, full, length, size

OUTCOMES = ("connected", "transferred", "abandoned", "closed", "unavailable", "rejected", "failed")
DECISIONS = ("allowed", "refused", "not_allowed", "undecided")


@click.command("list", short_help="The recordings, newest first.")
@filter_options
@json_option
@click.pass_obj
def list_command(work: Workplace, /, as_json: bool, **options: Any) -> None:
    """List recordings, the newest first.

    \b
    Examples:
      sipagent list --since yesterday
      sipagent list --caller "06 12 34 56 78" --json
    """
    rows = work.archive().store.recordings(selection(work, **options))
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    screen = console()
    if not rows:
        screen.print("No recording matches.")
        return
    show_table(newest(rows, screen, options["limit"]), recording_columns(work, rows, screen), screen)
    seconds, bytes = sum(row.duration_s or 0 for row in rows), sum(row.bytes or 0 for row in rows)
    screen.print(f"\n{counted(len(rows), 'recording')}, {length(seconds)}, {size(bytes)}", style="dim")


@click.command("calls", short_help="The receipts of all calls, newest first.")
@filter_options
@click.option("--outcome", type=click.Choice(OUTCOMES), help="How the call ended.")
@click.option("--decision", type=click.Choice(DECISIONS), help="Whether it could be recorded.")
@json_option
@click.pass_obj
def calls_command(work: Workplace, /, as_json: bool, **options: Any) -> None:
    """List the receipts of all calls, recorded or not, the newest first.

    \b
    Examples:
      sipagent calls --since 7d --decision refused
      sipagent calls --since 2026-11-24 --until 2026-11-24 --json
    """
    rows = work.archive().store.receipts(selection(work, **options))
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    screen = console()
    if not rows:
        screen.print("No call matches.")
        return
    show_table(newest(rows, screen, options["limit"]), receipt_columns(work, screen), screen)
    screen.print(f"\n{counted(len(rows), 'call')}", style="dim")


@click.command("show", short_help="All that is known of one, and every use of it.")
@id_argument
@json_option
@click.pass_obj
def show_command(work: Workplace, id: str, as_json: bool) -> None:
    """Show everything known of one recording: its call, every use of it, every exported copy.

    The id of a call that was not recorded shows its receipt.

    \b
    Example:
      sipagent show 20261124T222000123-4f2a9c
    """
    store = work.archive().store
    recording, receipt = _recording(store, id), _receipt(store, id)
    if recording is None and receipt is None:
        raise Failure(f"{id}: no such id")
    accesses = store.accesses(id)
    if as_json:
        print_json(_everything(id, recording, receipt, accesses))
        return
    screen = console()
    if recording is not None:
        show_fields(_recording_fields(work, recording), screen)
    else:
        show_fields([("id", id), ("recording", "none")], screen)
    if receipt is not None:
        show_fields(_receipt_fields(work, receipt), screen, "Call")
        if receipt.events:
            events = [(full(work.local(event.at)), _event(event.what, event.by)) for event in receipt.events]
            show_fields(events, screen, "What happened")
    uses = [(full(work.local(use.at)), _use(use)) for use in accesses]
    show_fields(uses or [("none so far", " ")], screen, "Uses")


def _recording(store: Store, id: str) -> Recording | None:
    try:
        return store.recording(id)
    except UnknownId:
        return None


def _receipt(store: Store, id: str) -> Receipt | None:
    try:
        return store.receipt(id)
    except UnknownId:
        return None


def _everything(
    id: str, recording: Recording | None, receipt: Receipt | None, accesses: list[Access]
) -> Json:
    own: Json = recording.to_json() if recording else {"id": id, "status": None}
    return own | {
        "receipt": receipt.to_json() if receipt else None,
        "accesses": [access.to_json() for access in accesses],
    }


def _recording_fields(work: Workplace, row: Recording) -> list[tuple[str, str | None]]:
    present = now()
    special = [name for name, true in (("flagged", row.flagged), ("incomplete", row.incomplete)) if true]
    pauses = ", ".join(f"{length(pause.from_s)} to {length(pause.to_s)}" for pause in row.pauses)
    gone = row.purged_at and f"{full(work.local(row.purged_at))}, {distance(row.purged_at, present)}"
    return [
        ("id", row.id),
        ("status", row.status.value),
        ("began", f"{full(work.local(row.started_at))}, {distance(row.started_at, present)}"),
        ("length", length(row.duration_s)),
        ("caller", row.caller),
        ("called", row.called),
        ("operator", row.operator),
        ("decision", row.decision),
        ("notice", f"{row.notice.file} (SHA-256 {row.notice.sha256})" if row.notice else None),
        ("paused", pauses or "never"),
        ("marks", ", ".join(special) or "none"),
        ("hold", "none" if row.hold is None else ", ".join(f"{k} {v}" for k, v in row.hold.items())),
        ("file", row.path and f"{row.path} ({size(row.bytes)})"),
        ("SHA-256", row.sha256),
        ("expires", f"{full(work.local(row.expires_at))}, {distance(row.expires_at, present)}"),
        *([("purged", gone)] if gone else []),
        ("Call-ID", row.call_id),
    ]


def _receipt_fields(work: Workplace, row: Receipt) -> list[tuple[str, str | None]]:
    def local(name: str) -> str | None:
        at = getattr(row, name)
        return at and full(work.local(at))

    where = [word for word in (row.phase and f"in the {row.phase}", row.dtmf_method, row.keyword) if word]
    confidence = [] if row.confidence is None else [f"confidence {row.confidence:.2f}"]
    played = row.notice_played_ms
    return [
        ("outcome", row.outcome or ("in progress" if row.ended_at is None else None)),
        ("decision", " by ".join(filter(None, (row.decision, row.decided_by)))),
        *([("how", ", ".join(where + confidence))] if where or confidence else []),
        ("decided", local("decided_at")),
        ("notice played", None if played is None else f"{played / 1000:.1f} s"),
        ("answered", local("answered_at")),
        ("connected", local("connected_at")),
        ("ended", local("ended_at")),
        ("caller", row.caller),
        ("called", row.called),
        ("operator", row.operator),
    ]


def _event(what: str, by: str | None) -> str:
    return f"{what} ({user_part(by)})" if by else what


def _use(use: Access) -> str:
    """`export for quality by M. Durand (root): done, both to /home/durand/call.wav`."""
    words = [use.action]
    words += [f"for {use.purpose}"] if use.purpose else []
    words += [f"by {use.by}"] if use.by else []
    words += [f"({use.system_user})"] if use.system_user else []
    reference = f"reference {use.reference}" if use.reference else None
    return f"{' '.join(words)}: {', '.join(filter(None, (use.outcome, reference, use.detail)))}"
