"""Whether all that is kept is still what was kept: the chain, the rows against it, the files against them.

First the triggers, then the chain alone, entry by entry. Then each row against the entry that tells its
present state: a changed byte, a row put back to an earlier state, a row that is gone. Then the exported head:
it shows a tail cut off. Then what waits beside the database to be written into it. Last the files: each
against the hash in its row, those that should be erased by now, and those without a row. An agent may write
meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from retention.archive.archive import Archive, ArchiveError
from retention.archive.erasure import stuck
from retention.archive.kept_files import Problem, each_file, each_hold, what_is_left
from retention.archive.orphans import orphans
from retention.archive.reserve import lasting_problems
from retention.recording import parse_json, to_text
from retention.rows.chain import ALTERED, GENESIS, SEGMENT, TABLES, ChainEntry, ChainHead, Lost
from retention.rows.chain_head import DAMAGED, ChainHeadError, damaged_path, read_head
from retention.rows.differences import differences
from retention.rows.pages import PAGE, Listing, batches
from retention.rows.rejected import LOST
from retention.rows.store import StoreError

Progress = Callable[[str, int, int], None]  # what, done, total

_LEAP = 10_000_000  # how many numbers a broken seq may skip: marks are kept by number
_THERE, _SUPERSEDED, _SEEN = 1, 2, 4


@dataclass(slots=True, kw_only=True)
class Verified:
    """What was checked, how much of it, and what is wrong.

    `lost`: what the chain itself says is missing; `gaps`: the numbers of these entries.
    """

    head: ChainHead
    problems: list[Problem] = field(default_factory=list)
    lost: list[Problem] = field(default_factory=list)
    gaps: list[range] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def verify(
    archive: Archive,
    progress: Progress = lambda what, done, total: None,
    *,
    heads: tuple[Path, ...] = (),
    deep: bool = False,
) -> Verified:
    """Check everything; `heads` are copies of the exported head to compare with, besides the one in place.

    `deep`: read also the bytes of objects whose hash a store tells.

    Raises StoreError; OSError for a folder that cannot be read.
    """
    work = _Verification(archive, progress, deep)
    work.guards()
    work.chain()
    for kind in TABLES:
        work.rows(kind)
    work.lost_receipts()
    work.dropped()
    work.exported(heads)
    work.reserves()
    work.files()
    return work.found


class _Verification:
    """`marks`: what is known of each entry of the chain, by its seq, up to the head at the start."""

    def __init__(self, archive: Archive, progress: Progress, deep: bool) -> None:
        self.archive = archive
        self.deep = deep
        self.store = archive.store
        self.progress = progress
        self.found = Verified(head=self.store.head())
        self.marks = bytearray()

    def wrong(self, where: str, problem: str) -> None:
        self.found.problems.append(Problem(where, problem))

    def guards(self) -> None:
        """Check the triggers that refuse what no program of ours does."""
        for name in self.store.missing_guards():
            self.wrong("database", f"its trigger {name} is missing or another: what it refused is possible")

    def chain(self) -> None:
        """Check the chain, entry by entry."""
        last, count, until = ChainHead(0, GENESIS), 0, self.found.head.seq
        for row in self.store.each(Listing(table="chain", order=("seq",), stop=until + 1)):
            entry = ChainEntry(**row)
            last = self._behind(entry, last)
            if not entry.follows(last.hash):
                self.wrong(
                    f"chain entry {entry.seq}", "its hash is not that of its content behind the one before"
                )
            if entry.kind == ALTERED:
                self.wrong(entry.subject, f"had been altered when entry {entry.seq} was written ({entry.at})")
            if not self._mark_entry(entry):
                break
            last = ChainHead(entry.seq, entry.hash)
            count += 1
            if count % PAGE == 0:
                self.progress("chain", entry.seq, until)
        self.found.counts["chain"] = count

    def rows(self, kind: str) -> None:
        """Compare each row of one table with its entry."""
        table, done = TABLES[kind], 0
        total = self.store.tally()[table]
        numbered = Listing(table=table, order=(self.store.dialect.numbers[table],))
        for rows in batches(self.store.each(numbered), PAGE):
            entries = self.store.entries([row["chain_seq"] or 0 for row in rows])
            for row in rows:
                where = f"{kind} {row['id']}"
                entry = entries.get(row["chain_seq"])
                if entry is None:
                    self.wrong(where, "no entry of the chain tells of it")
                elif (entry.kind, entry.subject) != (kind, str(row["id"])):
                    self.wrong(where, f"entry {entry.seq} tells of another, {entry.kind} {entry.subject}")
                else:
                    for problem in differences(kind, row, entry):
                        self.wrong(where, problem)
                    self._mark_row(entry)
            done += len(rows)
            self.progress(table, done, total)
        self.found.counts[table] = done

    def lost_receipts(self) -> None:
        """Calls without a receipt, as the chain tells."""
        for sum in self.store.each_sum(damaged=lambda id, problem: None):  # it has been reported
            if sum.what == LOST:
                first, last = to_text(sum.from_at), to_text(sum.until_at)
                problem = f"{sum.count} could not be written, between {first} and {last}"
                self.found.lost.append(Problem("receipts", problem))

    def dropped(self) -> None:
        """Report rows that entries tell of, and that are missing."""
        for seq, mark in enumerate(self.marks):
            if mark == _THERE:
                entry = self.store.entries([seq])[seq]
                self.wrong(f"{entry.kind} {entry.subject}", f"gone; entry {seq} of the chain tells of it")

    def exported(self, copies: tuple[Path, ...]) -> None:
        """Look for the exported head, and copies of it, in the chain."""
        own = None if self.store.places is None else self.store.places.head
        if own is not None and (damaged := damaged_path(own)).exists():
            self.wrong(damaged.name, DAMAGED)
        for path in copies if own is None else (own, *copies):
            name = path.name if path == own else str(path)
            try:
                head = read_head(path)
            except ChainHeadError:
                self.wrong(name, "not the head of a chain")
                continue
            if head is None and path == own and self.archive.here != self.store.places:
                continue  # another host may have written all that there is
            if head is None:
                self.wrong(name, "missing: a tail cut off the chain would not show")
            elif not self.store.knows(head):
                self.wrong(name, f"the chain has no entry {head.seq} with this hash: its tail was cut off")

    def reserves(self) -> None:
        """Look for what waits to be written, and no process will write."""
        if self.archive.here is not None:
            for name, problem in lasting_problems(self.archive.here).items():
                self.wrong(name, problem)

    def files(self) -> None:
        """Compare them with their rows, and look for those without a row, and rows without them."""
        named = {finding.where for finding in self.found.problems}
        done = 0

        def step(count: int, total: int) -> None:
            nonlocal done
            done = count
            self.progress("files", count, total)

        for wrong in each_file(
            self.archive, step, deep=self.deep, without=lambda id: f"recording {id}" in named
        ):
            self.found.problems.append(wrong)
        self.found.counts["files"] = done
        self.found.problems += each_hold(self.archive)
        self.found.problems += what_is_left(self.archive, datetime.now(UTC))
        try:
            for id in stuck(self.archive):
                self.wrong(
                    f"recording {id}", "must be erased, and is not, or not wholly: see `sipagent purge`"
                )
            names = 4 * done  # of sound, metadata and key, and once more by their rows
            for orphan in orphans(self.archive, lambda seen: self.progress("names", min(seen, names), names)):
                self.wrong(orphan.name, orphan.problem)
            self.progress("names", names, names)
        except (StoreError, ArchiveError) as error:  # its row is damaged, which has been reported
            self.wrong("recordings", f"cannot be compared with the files: {error}")

    def _behind(self, entry: ChainEntry, last: ChainHead) -> ChainHead:
        """What the entry must follow; a segment may name another place than the entry before it."""
        where = f"chain entry {entry.seq}"
        lost = _lost(entry) if entry.kind == SEGMENT else None
        if lost == "unknown":
            self.found.lost.append(
                Problem(
                    where, f"what is lost before it, if anything, has no number: {entry.subject} ({entry.at})"
                )
            )
        elif lost is not None:
            goes_on = (
                lost.seq > last.seq
            )  # else it was an older copy that went on, further than what was lost
            other = f"entries of another copy, up to {lost.seq}, are"
            missing = _entries(last.seq + 1, lost.seq) if goes_on else other
            self.found.lost.append(Problem(where, f"{missing} lost: {entry.subject} ({entry.at})"))
            self.found.gaps.append(range(last.seq + 1, lost.seq + 1))
            last = lost if goes_on else last
        if entry.seq != last.seq + 1:
            self.wrong(where, f"{_entries(last.seq + 1, entry.seq - 1, ' before it')} missing")
        return last

    def _mark_entry(self, entry: ChainEntry) -> bool:
        """False if its number is so far off that nothing can be said of the entries after it."""
        where = f"chain entry {entry.seq}"
        gap = entry.seq + 1 - len(self.marks)
        if not 0 < gap <= _LEAP:
            self.wrong(where, "its number cannot be")
            return False
        self.marks.extend(bytes(gap))
        self.marks[entry.seq] = _THERE if entry.kind in TABLES else _THERE | _SEEN
        if entry.was != 0:
            if not _is_before(entry) or self.marks[entry.was] != _THERE:
                self.wrong(where, f"entry {entry.was} is not the one before its change")
            else:
                self.marks[entry.was] |= _SUPERSEDED
        return True

    def _mark_row(self, entry: ChainEntry | None) -> None:
        """Check that the row is in the state that `entry` tells, and that this entry is the last one about
        it."""
        while entry is not None and entry.seq >= len(self.marks):  # written since the walk
            entry = self.store.entries([entry.was]).get(entry.was) if _is_before(entry) else None
        if entry is None:
            return
        if self.marks[entry.seq] & _SUPERSEDED:
            self.wrong(
                f"{entry.kind} {entry.subject}", f"put back to an earlier state, that of entry {entry.seq}"
            )
        self.marks[entry.seq] |= _SEEN


def _lost(entry: ChainEntry) -> Lost:
    try:
        previous = parse_json(entry.public)["previous"]
        return (
            previous
            if previous in (None, "unknown")
            else ChainHead(int(previous["seq"]), str(previous["hash"]))
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None  # its hash is wrong, too


def _entries(first: int, last: int, where: str = "") -> str:
    """`entry 5 is`, `entries 5 to 7 are`; `where` behind the numbers."""
    return f"entry {first}{where} is" if first == last else f"entries {first} to {last}{where} are"


def _is_before(entry: ChainEntry) -> bool:
    """Whether the entry names an earlier number; anything else may not even be a number."""
    return isinstance(entry.was, int) and 0 < entry.was < entry.seq
