"""Two processes, a hold against what removes: the hold wins, or comes too late and says so; never half."""

import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.erase import NotDeleted, delete, erase_row
from retention.holds import HoldError, place
from retention.purge import Terms, purge
from retention.records import Access, Approval, Hold, Recording, Status, due_date
from retention.rows.rows import StoreError
from retention.verify import verify
from sipagent.operations.approvals import ApprovalError, Rules, ask_approval, decide
from tests import tiers
from tests.kept import CALLER, SOUND, START, Paths, archive, keep, recording, sqlite

HOLD = Hold(ground="criminal", reference="2026/7", by="A. Roux", approved_by="B. Petit", review="2030-01-01")
TERMS = Terms(period="6 months", receipts_period="9 years", analysis_period="9 years")
FOUR_EYES = ("ask", "approve")
PATIENCE_S = 60.0
ROUNDS = 40  # in each archive
Move = Callable[[Archive, str, int], str]


def by_purge(archive: Archive, id: str, number: int) -> str:
    """Each is due a minute after the one before, so that each has a purge of its own."""
    report = purge(archive, due_date(START, "6 months") + timedelta(minutes=number), TERMS)
    return "removed" if id in [removal.id for removal in report.removed] else "refused"


def by_delete(archive: Archive, id: str, number: int) -> str:
    try:
        delete(archive, id, Access(at=START, action="delete", by="DPO"), lambda: START)
    except NotDeleted as refused:
        return "refused" if "on hold" in str(refused) else repr(refused)
    return "removed"


def by_operator(archive: Archive, id: str, number: int) -> str:
    """Stopped and erased at the end of the call, while somebody already holds it."""
    try:
        erase_row(archive, id, START, "not_allowed")
    except StoreError as refused:
        return "refused" if "on hold" in str(refused) else repr(refused)
    return "removed"


def by_hold(archive: Archive, id: str, number: int) -> str:
    try:
        place(archive, id, HOLD, Access(at=START, action="hold", by="A. Roux"))
    except HoldError as late:
        return str(late).partition(":")[0]
    return "held"


def by_approval(archive: Archive, id: str, number: int) -> str:
    """Asked for by one login, and done by the other's."""
    asked = Approval(
        at=START,
        action="hold",
        recording_id=id,
        by=None,
        ground=HOLD.ground,
        reference=HOLD.reference,
        review=HOLD.review,
    )
    rules = Rules(grounds=("criminal",), purposes=(), period="6 months", today=START.date())
    try:
        kept = ask_approval(archive, asked, Access(at=START, action="ask", login=HOLD.by), rules)
        trace = Access(at=START, action="approve", login=HOLD.approved_by)
        decide(archive, "approve", kept.id, trace, rules)
    except ApprovalError as late:
        return str(late).partition(":")[0]
    return "held"


def racer(
    folders: list[Path], ids: list[list[str]], move: Move, barrier: Barrier, results: Connection
) -> None:
    """A process: one of the two, in each round. Whoever won last comes a little later the next time."""
    without_a_disk(pytest.MonkeyPatch())
    chance, delay, told = random.Random(1), 0.0, []
    for folder, there in zip(folders, ids, strict=True):
        kept = opened(folder)
        for number, id in enumerate(there):
            barrier.wait(PATIENCE_S)
            until = time.perf_counter() + delay * chance.uniform(0.8, 1.2)
            while time.perf_counter() < until:
                pass
            told.append(move(kept, id, number))
            won = told[-1] in ("held", "removed")
            delay = min(delay * 1.3 + 1e-5, 0.2) if won else delay / 1.3
        kept.store.close()
    results.send(told)


def without_a_disk(patch: pytest.MonkeyPatch) -> None:
    """What counts is who comes first, not what a power cut would leave."""
    patch.setattr(os, "fsync", lambda descriptor: None)


def opened(folder: Path) -> Archive:
    kept = archive(folder)
    sqlite(kept.store).execute("PRAGMA synchronous=OFF")
    return kept


def race(
    folders: list[Path], ids: list[list[str]], holder: Move, remover: Move
) -> tuple[list[str], list[str]]:
    """What each of the two said in each round."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    pipes = [spawn.Pipe(duplex=False) for _ in range(2)]
    processes = [
        spawn.Process(target=racer, args=(folders, ids, move, barrier, sending), daemon=True)
        for move, (_, sending) in zip((holder, remover), pipes, strict=True)
    ]
    for process in processes:
        process.start()
    results: list[list[str]] = []
    for receiving, sending in pipes:
        sending.close()
        results.append(receiving.recv())  # EOFError where it died
    for process in processes:
        process.join(PATIENCE_S)
        assert process.exitcode == 0
    return results[0], results[1]


@pytest.mark.parametrize(
    ("holder", "remover", "archives"),
    [
        (by_hold, by_purge, tiers.depth(5, 25)),
        *((by_hold, other, tiers.depth(3, 5)) for other in (by_delete, by_operator)),
        *((by_approval, other, tiers.depth(3, 5)) for other in (by_purge, by_delete)),
    ],
    ids=["purge", "delete", "operator", "approval and purge", "approval and delete"],
)
def test_a_hold_wins_or_is_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: Move, remover: Move, archives: int
) -> None:
    """In the full tier 1,000 rounds of the purge, in archives that are small, so that each is quick."""
    without_a_disk(monkeypatch)
    folders = [tmp_path / f"{number}" for number in range(archives)]
    rows: list[list[Recording]] = []
    for folder in folders:
        folder.mkdir()
        kept = opened(folder)
        rows.append([keep(kept, recording(number)) for number in range(ROUNDS)])
        kept.store.close()
    told = zip(*race(folders, [[row.id for row in some] for some in rows], holder, remover), strict=True)
    outcomes = []
    for folder, some in zip(folders, rows, strict=True):
        kept = opened(folder)
        for row in some:
            outcomes.append(next(told))
            check(kept, row, *outcomes[-1])
        assert verify(kept).problems == []
        kept.store.close()
    share = [of_hold for of_hold, _ in outcomes].count("held") / len(outcomes)
    assert len(outcomes) == archives * ROUNDS and 0.1 < share < 0.9, f"one of them always won: {share}"


def check(kept: Archive, row: Recording, of_hold: str, of_remover: str) -> None:
    if of_hold == "held":
        assert of_remover == "refused", row.id
        still_there(kept, row)
    else:
        assert of_hold.startswith(("it is already purg", "it was erased")), of_hold
        assert of_remover == "removed", row.id
        gone(kept, row)


def still_there(kept: Archive, row: Recording) -> None:
    now = kept.store.recording(row.id)
    assert (now.status, now.hold, now.caller) == (Status.CLOSED, HOLD.to_json(), CALLER)
    assert Paths(kept).final(row.id, "flac").read_bytes() == SOUND
    assert json.loads(Paths(kept).metadata(row.id).read_text())["hold"] == HOLD.to_json()
    assert [use.action for use in kept.store.accesses(row.id) if use.action not in FOUR_EYES] == ["hold"]


def gone(kept: Archive, row: Recording) -> None:
    now = kept.store.recording(row.id)
    assert now.status in (Status.PURGED, Status.ERASED) and now.hold is None
    assert not [name for name, id in kept.names() if id == row.id]
    assert "hold" not in [use.action for use in kept.store.accesses(row.id)]
