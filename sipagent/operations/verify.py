"""Prove that what is kept is still what was written: chain, rows, files, roots and time stamps. Nothing is
changed.

`stamp` has the chain's head stamped by a third party. A caller gets the receipt of a call, which anybody can
check with the published root of a day.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from retention.archive import Archive
from retention.erase import KeptCall
from retention.rebuild import is_left
from retention.records import Access, Record, RuleError, parse_json
from retention.roots import (
    CallerReceipt,
    Kept,
    RootError,
    TreeHead,
    caller_receipt,
    check_receipt,
    check_roots,
    read_receipt,
    read_root,
    root_files,
    stamp_of,
)
from retention.rows.chain import ChainHead
from retention.stamps import (
    FolderStamps,
    Stamped,
    StampProblem,
    each_stamp,
    newest,
    stamp_head,
    stamps_beside,
    verify_stamps,
)
from retention.texts import Reason
from retention.verify import Mismatch, verify
from sipagent.agent.stored import archive_of, is_there, lacks_rows, spool_of, store_of
from sipagent.config.load import Config, ConfigError
from sipagent.languages.labels import N_
from sipagent.operations import traced

COUNTED = (
    *(N_("chain"), N_("receipts"), N_("recordings"), N_("accesses"), N_("notes"), N_("sums")),
    *(N_("approvals"), N_("files"), N_("stamps")),
)
N_("names")  # which `verify` tells steps of, too


class NoDatabase(RuleError):
    """There is no database to look at."""


@dataclass(frozen=True, kw_only=True)
class Verification(Record):
    """What is wrong; what was lost, as the chain says itself; how much was looked at."""

    problems: tuple[Mismatch, ...]
    lost: tuple[Mismatch, ...]
    counts: dict[str, int]
    head: ChainHead


def archive_to_verify(config: Config) -> Archive:
    """Raises NoDatabase without a database: there is nothing to check, or all of it is gone."""
    if not is_there(config):
        if is_left(config.kept_places, spool_of(config)):
            raise NoDatabase(
                "{0} is missing, and what it held with it; see `sipagent rebuild`", config.database
            )
        raise NoDatabase("{0}: there is no database yet, and nothing to verify", config.database)
    return archive_of(config, store_of(config))


def verify_all(
    config: Config,
    archive: Archive,
    step: Callable[[str, int, int], None],
    heads: tuple[Path, ...] = (),
    *,
    deep: bool = False,
) -> Verification:
    """`heads`: copies of the chain's head that were kept elsewhere; `deep`: read objects, too. `step`: see
    `retention.verify.verify`. Raises StoreError, OSError."""
    found = verify(archive, step, heads=heads, deep=deep)
    stamps = verify_stamps(
        stamps_beside(archive.store),
        archive.store.hash_of,
        config.retention.timestamp_ca,
        lambda done, total: step("stamps", done, total),
    )
    problems, lost = [*found.problems], [*found.lost]
    for wrong in stamps.problems:  # a stamp of an entry that is lost counts with it
        seq = wrong.name.partition(".")[0]
        gone = seq.isdecimal() and any(int(seq) in gap for gap in found.gaps)
        (lost if gone else problems).append(Mismatch(Reason("stamp {name}", name=wrong.name), wrong.problem))
    if config.objects is not None and lacks_rows(config, archive.store):
        said = Reason("has recordings, and no row tells of any: see `sipagent rebuild`")
        problems.append(Mismatch(config.objects.url, said))
    counts = found.counts | {"stamps": stamps.good}
    return Verification(
        problems=tuple(problems),
        lost=tuple(lost),
        counts={name: counts.get(name, 0) for name in COUNTED},
        head=found.head,
    )


@dataclass(frozen=True, kw_only=True)
class KeptStamp(Record):
    """A stamp of an entry of the chain, in its file."""

    file: str
    seq: int
    hash: str
    at: datetime
    authority: str


@dataclass(frozen=True, kw_only=True)
class BadStamp(Record):
    """A file that is no stamp, or all of them."""

    file: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class StampMade(Record):
    """Whether a stamp was made now, and the newest there is."""

    stamped: bool
    stamp: KeptStamp | None


def stamp_now(config: Config) -> StampMade:
    """Raises ConfigError without an authority, NoDatabase, StampError."""
    kept = config.retention
    if kept.timestamp_url is None or kept.timestamp_ca is None:
        accepted = Reason("the URL of an RFC 3161 authority, with retention.timestamp_ca")
        raise ConfigError(config.file, "retention.timestamp_url", Reason("absent"), accepted)
    if not is_there(config):
        raise NoDatabase("{0}: there is no database yet, and nothing to stamp", config.database)
    with store_of(config) as store:
        made = stamp_head(store, kept.timestamp_url, kept.timestamp_ca)
        last = made or newest(stamps_beside(store))
    return StampMade(stamped=made is not None, stamp=None if last is None else _kept(last))


def stamps_there(config: Config) -> list[KeptStamp | BadStamp]:
    """All stamps, unchecked, also where the database of this host is gone."""
    if config.shared is None:
        return list(map(_told, each_stamp(FolderStamps(config.places.stamps))))
    with store_of(config) as store:
        return list(map(_told, each_stamp(stamps_beside(store))))


def _told(row: Stamped | StampProblem) -> KeptStamp | BadStamp:
    return BadStamp(file=row.name, problem=row.problem) if isinstance(row, StampProblem) else _kept(row)


def _kept(stamp: Stamped) -> KeptStamp:
    return KeptStamp(
        file=stamp.path.name, seq=stamp.seq, hash=stamp.hash, at=stamp.at, authority=stamp.authority
    )


# --- what a caller can check: only the two files are needed for it ---


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
    return [
        PublishedRoot.of(read_root(path), file=path.name, stamped=stamp_of(path).exists())
        for path in reversed(root_files(config.places.roots))
        if since is None or path.stem >= f"{since:%Y-%m-%d}"
    ]
