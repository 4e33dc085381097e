"""What the page shows in its bench: a million rows, what is looked for in them, hours of sealed sound."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from media.recording.assemble import settle
from media.recording.chunks import ChunkNote, Kind, PartWriter, Sealer, create_part
from retention.archive import Archive
from retention.records import Receipt, Recording, new_id, reference_of
from retention.rows.counts import recordings_by_status
from retention.rows.selection import Selection
from retention.sqlite import Store
from retention.vault import PublicKey
from tests.bench.store import call, fill
from tests.kept import Paths
from tests.office import PARIS

RATE, HOUR_S = 8000, 3600
APART = timedelta(seconds=15)  # a million in 174 days: all of them are still kept
PAGE, TRIES = 50, 100  # rows of a list; lists of a kind
HUNDREDTH = 99  # pages before it
LIST_MS = 50.0

# Whoever is looked for: one who calls often, one operator among fifty, one who has had a call in 20,000.
OFTEN, OFTEN_OF = "+33600000001", 1_000
OPERATORS, OPERATOR, RARE_OPERATOR = 50, "201", "299"
RARE_OF, FLAGGED_OF, HELD_OF = 20_000, 10_000, 12_500
HOLD = {
    "ground": "criminal", "reference": "2026-17", "by": "marie.durand", "approved_by": "paul.martin",
    "review": "2099-01-01",
}  # fmt: skip
Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for among the rows, each time something else."""

    rows: int
    calls: tuple[Recording, ...]  # anywhere
    deep: tuple[str, ...]  # ids behind which the hundredth page begins, and the ones after it


def one_call(number: int, newest: datetime) -> tuple[Receipt, Recording]:
    """The `number`-th call before `newest`, of a service that keeps a million."""
    receipt, recording = call(number, newest)
    ago = newest - number * APART - receipt.started_at
    at = receipt.started_at + ago
    id = new_id(at)
    operator = RARE_OPERATOR if number % RARE_OF == RARE_OF - 1 else f"{201 + number % OPERATORS}"
    caller = OFTEN if number % OFTEN_OF == 0 else f"+337{number:08d}"
    uri = f"sip:{operator}@pbx.example.net"
    moved = {
        name: moment + ago
        for name in ("started_at", "answered_at", "connected_at", "decided_at", "ended_at")
        if (moment := getattr(receipt, name))
    }
    recording = replace(
        recording, id=id, started_at=at, ended_at=moved["ended_at"], caller=caller, operator=uri,
        path=f"recordings/{id}.flac", expires_at=newest + timedelta(days=1000),
        flagged=number % FLAGGED_OF == 1, hold=HOLD if number % HELD_OF == 2 else None,
    )  # fmt: skip
    return replace(receipt, id=id, recording_id=id, caller=caller, operator=uri, **moved), recording


def fill_up(store: Store, count: int) -> Wanted:
    """Rows until there are `count`, each older than all that were there before; what can be found there."""
    have = sum(recordings_by_status(store).values())
    first = store.recordings(Selection(limit=1))
    newest = first[0].started_at if first else datetime.now(UTC)
    fill(store, (one_call(number, newest) for number in range(have, count)), max(0, count - have))

    def at(number: int) -> Recording:
        until = newest - number * APART + timedelta(milliseconds=1)
        return store.recordings(Selection(until=until, limit=1))[0]

    picked = random.Random(15).sample(range(count), min(count, 2 * TRIES))
    return Wanted(
        rows=count,
        calls=tuple(at(number) for number in [one for one in picked if one % OFTEN_OF][:TRIES]),
        deep=tuple(at(min((HUNDREDTH + page) * PAGE, count) - 1).id for page in range(TRIES)),
    )


@dataclass(frozen=True, slots=True)
class Query:
    """One kind of list: what is asked in each of the tries, and how many rows it must find at least."""

    name: str
    fields: Callable[[int, Recording], Fields]
    found: int
    limit: float | None = LIST_MS
    tries: int = TRIES


def queries(wanted: Wanted) -> Iterator[Query]:
    rare, flagged, held = (wanted.rows // of for of in (RARE_OF, FLAGGED_OF, HELD_OF))
    often, of_one = wanted.rows // OFTEN_OF, wanted.rows // (2 * OPERATORS)
    behind = max(0, wanted.rows - (HUNDREDTH + TRIES - 1) * PAGE)

    def day(_: int, call: Recording) -> Fields:
        told = f"{call.started_at.astimezone(PARIS):%Y-%m-%d}"
        return {"since": told, "until": told}

    yield Query("the newest", lambda _, call: {}, min(PAGE, wanted.rows))
    yield Query("of a day", day, 1)
    yield Query("of a number that called once", lambda _, call: {"caller": call.caller or ""}, 1)
    yield Query("of a number that calls often", lambda _, call: {"caller": OFTEN}, min(PAGE, often))
    end = "of the end of a number"
    yield Query(end, lambda _, call: {"caller": (call.caller or "")[-4:]}, 1, None, 10)
    yield Query("by reference", lambda _, call: {"reference": reference_of(call.id)}, 1)
    name = f"of one operator of {OPERATORS}"
    yield Query(name, lambda _, call: {"operator": OPERATOR}, min(PAGE, of_one))
    name = f"of an operator with {rare} calls"
    yield Query(name, lambda _, call: {"operator": RARE_OPERATOR}, min(PAGE, rare))
    yield Query(f"flagged, {flagged} of them", lambda _, call: {"flagged": "true"}, min(PAGE, flagged))
    yield Query(f"held, {held} of them", lambda _, call: {"held": "true"}, min(PAGE, held))
    yield Query("the hundredth page", lambda turn, call: {"after": wanted.deep[turn]}, min(PAGE, behind))


def hours(archive: Archive, recipient: PublicKey, count: int) -> list[Recording]:
    """So many recordings of an hour each, sealed to one who may listen; newest first."""
    return [_hour(archive, recipient, timedelta(hours=2 + number)) for number in range(count)]


def _hour(archive: Archive, recipient: PublicKey, ago: timedelta) -> Recording:
    """A tone for the caller, another for the operator, loud from the first samples on."""
    at = datetime.now(UTC) - ago
    receipt, recording = one_call(5, at + 5 * APART)
    recording = replace(
        recording, ended_at=at + timedelta(seconds=HOUR_S), duration_s=float(HOUR_S), sample_rate=RATE,
        path=None, bytes=None, sha256=None,
    )  # fmt: skip
    archive.store.add_receipt(replace(receipt, ended_at=recording.ended_at))
    part = archive.open(recording)
    writer = PartWriter(create_part(part), RATE, Sealer(archive.vault.create(recording.id, [recipient])).seal)
    seconds = np.arange(RATE) / RATE
    second = np.stack([np.sin(math.tau * hz * seconds) * 8000 for hz in (440, 880)], axis=1).astype(np.int16)
    for _ in range(HOUR_S):
        writer.write_audio(second)
    writer.write_note(ChunkNote(), Kind.END)
    writer.sync()
    writer.close()
    settle(part, Paths(archive).final(recording.id, "sealed"))
    return archive.close(recording)


def forget_pages(recording: Recording, folder: Path) -> None:
    """Have the system drop what it holds of the file, so that it comes from the disk."""
    assert recording.path is not None
    with (folder / recording.path).open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
