"""What the page shows in its bench: a million recordings' rows, and a few hours of sealed sound."""

from __future__ import annotations

import math
import os
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.recording.assemble import settle
from media.recording.chunks import ChunkNote, Kind, PartWriter, Sealer, create_part
from retention.archive import Archive
from retention.records import Receipt, Recording, new_id
from retention.rows.counts import recordings_by_status
from retention.rows.selection import Selection
from retention.sqlite import Store
from retention.vault import PublicKey
from tests.bench.store import call, fill
from tests.kept import Paths

RATE = 8000
HOUR_S = 3600
APART = timedelta(seconds=15)  # a million in 174 days: all of them are still kept
PAGE = 50  # rows of a list
TRIES = 100
HUNDREDTH = 99  # pages before it

# Whoever is looked for: one who calls often, one operator among fifty, one who has had a call in 20,000.
OFTEN = "+33600000001"
OFTEN_OF = 1_000
OPERATORS = 50
OPERATOR, RARE_OPERATOR = "201", "299"
RARE_OF = 20_000
FLAGGED_OF, HELD_OF = 10_000, 12_500
HOLD = {
    "ground": "criminal",
    "reference": "2026-17",
    "by": "marie.durand",
    "approved_by": "paul.martin",
    "review": "2099-01-01",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for among the rows, each time something else."""

    rows: int
    calls: tuple[Recording, ...]  # anywhere
    deep: tuple[str, ...]  # ids behind which the hundredth page begins, and the ones after it


def one_call(number: int, newest: datetime) -> tuple[Receipt, Recording]:
    """The `number`-th call before `newest`, of a service that keeps a million."""
    receipt, recording = call(number, newest)
    at = newest - number * APART
    id = new_id(at)
    operator = RARE_OPERATOR if number % RARE_OF == RARE_OF - 1 else f"{201 + number % OPERATORS}"
    its: dict[str, Any] = {
        "id": id,
        "started_at": at,
        "ended_at": at + timedelta(minutes=3),
        "caller": OFTEN if number % OFTEN_OF == 0 else f"+337{number:08d}",
        "operator": f"sip:{operator}@pbx.example.net",
    }
    recording = replace(
        recording,
        **its,
        path=f"recordings/{id}.flac",
        expires_at=newest + timedelta(days=1000),
        flagged=number % FLAGGED_OF == 1,
        hold=HOLD if number % HELD_OF == 2 else None,
    )
    moved: dict[str, Any] = {
        "answered_at": at + timedelta(seconds=1),
        "connected_at": at + timedelta(seconds=20),
        "decided_at": at + timedelta(seconds=18),
        "recording_id": id,
    }
    return replace(receipt, **its, **moved), recording


def fill_up(store: Store, count: int) -> Wanted:
    """Rows until there are `count`, each older than all that were there before."""
    have = sum(recordings_by_status(store).values())
    first = store.recordings(Selection(limit=1))
    newest = first[0].started_at if first else datetime.now(UTC)
    fill(store, (one_call(number, newest) for number in range(have, count)), max(0, count - have))
    return wanted(store, count, newest)


def wanted(store: Store, count: int, newest: datetime) -> Wanted:
    """What can be found among the rows, which `fill_up` has made."""
    pick = random.Random(15)
    plain = [number for number in pick.sample(range(count), min(count, 2 * TRIES)) if number % OFTEN_OF]
    deep = [min((HUNDREDTH + page) * PAGE, count) - 1 for page in range(TRIES)]
    return Wanted(
        rows=count,
        calls=tuple(_at(store, newest, number) for number in plain[:TRIES]),
        deep=tuple(_at(store, newest, number).id for number in deep),
    )


def _at(store: Store, newest: datetime, number: int) -> Recording:
    """The recording of that number."""
    until = newest - number * APART + timedelta(milliseconds=1)
    return store.recordings(Selection(until=until, limit=1))[0]


def hours(archive: Archive, recipient: PublicKey, count: int) -> list[Recording]:
    """So many recordings of an hour each, sealed to one who may listen; newest first."""
    return [_hour(archive, recipient, timedelta(hours=2 + number)) for number in range(count)]


def _hour(archive: Archive, recipient: PublicKey, ago: timedelta) -> Recording:
    at = datetime.now(UTC) - ago
    receipt, recording = one_call(5, at + 5 * APART)
    recording = replace(
        recording, ended_at=at + timedelta(seconds=HOUR_S), duration_s=float(HOUR_S), sample_rate=RATE,
        path=None, bytes=None, sha256=None,
    )  # fmt: skip
    archive.store.add_receipt(replace(receipt, ended_at=recording.ended_at))
    part = archive.open(recording)
    key = archive.vault.create(recording.id, [recipient])
    writer = PartWriter(create_part(part), RATE, Sealer(key).seal)
    second = _second()
    for _ in range(HOUR_S):
        writer.write_audio(second)
    writer.write_note(ChunkNote(), Kind.END)
    writer.sync()
    writer.close()
    settle(part, Paths(archive).final(recording.id, "sealed"))
    return archive.close(recording)


def _second() -> NDArray[np.int16]:
    """(8000, 2) int16: a tone for the caller, another for the operator, loud from the first samples on."""
    seconds = np.arange(RATE) / RATE
    return np.stack([np.sin(math.tau * hz * seconds) * 8000 for hz in (440, 880)], axis=1).astype(np.int16)


def forget_pages(recording: Recording, folder: Path) -> None:
    """Have the system drop what it holds of the file, so that it comes from the disk."""
    assert recording.path is not None
    descriptor = os.open(folder / recording.path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
