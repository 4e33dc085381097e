"""Give a caller the receipt of a call, which anybody can check; list the roots that are published.

The check needs no configuration and no database: only the two files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from retention.archive import Archive
from retention.erase import KeptCall
from retention.records import Access, Record, parse_json
from retention.roots import (
    CallerReceipt,
    Kept,
    RootError,
    TreeHead,
    caller_receipt,
    check_receipt,
    check_roots,
    each_root,
    read_receipt,
    read_root,
    stamp_of,
)
from sipagent.config.load import Config
from sipagent.operations.tracing import traced


@dataclass(frozen=True, kw_only=True)
class PublishedRoot(TreeHead):
    """One root, its file, and whether it has a time stamp."""

    file: str
    stamped: bool


@dataclass(frozen=True, kw_only=True)
class CheckedReceipt(Record):
    """What a receipt proves: that this was written at `at`, or later, until the end of `date` (UTC)."""

    id: str
    at: datetime
    decision: str | None
    outcome: str | None
    date: str
    root: str
    kept: Kept


def give_receipt(archive: Archive, id: str, trace: Access, now: datetime) -> CallerReceipt:
    """The receipt of a call, with its line in the trace.

    Raises UnknownId, NoRootYet, RootError, StoreError, OSError.
    """
    call = KeptCall.find(archive.store, id)
    trace = replace(trace, action="receipt", recording_id=id)
    with traced(archive, trace, call.discreet):
        made = caller_receipt(archive.store, id, now)
        archive.store.add_access(call.discreet(replace(trace, detail=f"root of {made.head.date}")))
    return made


def check_files(receipt: Path, roots: Sequence[Path]) -> CheckedReceipt:
    """Check a receipt with the published root of its day, and with later ones, if they are given.

    Raises RootError, RecordError, OSError.
    """
    told = read_receipt(receipt)
    published = sorted(map(read_root, roots), key=lambda root: root.date)
    own = [root for root in published if root.date == told.head.date]
    if not own:
        raise RootError("the receipt is for the root of {0}; accepted: that one with --root", told.head.date)
    for root in own:  # two of one day show that there are two histories
        check_receipt(told, root)
    check_roots([root for root in published if root.date >= told.head.date])
    entry = told.entry
    return CheckedReceipt.from_json(
        parse_json(entry["public"])
        | {"id": entry["subject"], "at": entry["at"], "date": own[0].date, "root": own[0].root}
        | {"kept": told.statement.kept.to_json()}
    )


def published_roots(config: Config, since: datetime | None = None) -> list[PublishedRoot]:
    """The roots of this host, the newest first; of days that end after `since`. Raises RootError, OSError."""
    folder = config.places.roots
    return [
        PublishedRoot.of(root, file=f"{root.date}.json", stamped=stamp_of(folder, root).exists())
        for root in reversed([*each_root(folder)])
        if since is None or root.date >= f"{since:%Y-%m-%d}"
    ]
