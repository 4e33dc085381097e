"""A call that should have been recorded, and was not, or not wholly, is told of, and no other.

Faults are drawn, and done to a real agent and recorder in the midst of a call. What is missing is counted in
the file itself: both sides send a tone whenever they talk.
"""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.recording import chunks
from media.recording.assemble import AssemblyError, read_sound
from media.recording.tap import Tap
from retention.archive import Archive
from retention.records import Event, MissingSound, Pause, Status
from retention.shipping import lost_receipt
from retention.shortfall import GOES_ON, REASONS, STARTED, STOPPED, TOLERATED_S, not_recorded, shortfall
from retention.vault import public_line
from sipagent.agent import recorder as recorders
from sipagent.agent import row_writer
from sipagent.agent.recorder import recover
from sipagent.call.machines import ERASED
from sipagent.text.papers import StatisticsWords
from tests import kept, tiers
from tests.driving import RULES, Stage, pressed, staged
from tests.full_disk import fill
from tests.kept import ANN, Paths, receipt, recording
from tests.raising import no_room, raising
from tests.tapping import wait_for
from tests.two_hosts import World, call

LATEST = datetime.now(UTC) + timedelta(days=1)
MARGIN_S = 0.5  # about 2 s, where neither is wrong
BEGAN = recording().started_at


def story(*told: tuple[float, str]) -> dict[str, Any]:
    return {"events": tuple(Event(at=BEGAN + timedelta(seconds=at), what=what) for at, what in told)}


WHOLE, CLOSED = story((60, STARTED)), {"status": Status.CLOSED, "duration_s": 180.0}
LOST = (MissingSound(from_s=10.0, to_s=13.0),)
MADE_UP = (MissingSound(channel="caller", from_s=10.0, to_s=13.0, why="concealed"),)


@pytest.mark.parametrize(
    ("call", "row", "why"),
    [
        (WHOLE, CLOSED, None),
        (WHOLE, CLOSED | {"duration_s": 178.1}, None),
        (WHOLE, CLOSED | {"duration_s": 177.9}, "short"),
        (WHOLE, CLOSED | {"missing": LOST}, "short"),
        (WHOLE, CLOSED | {"missing": MADE_UP}, None),
        (WHOLE, CLOSED | {"missing": LOST, "pauses": (Pause(from_s=9.0, to_s=12.0),)}, None),
        (WHOLE, {"status": Status.FAILED}, "nothing"),
        (WHOLE, {"status": Status.OPEN}, None),
        (WHOLE | {"decision": "refused"}, {"status": Status.ERASED}, None),
        (WHOLE | {"not_recorded_because": "disk"}, CLOSED, "disk"),
        (WHOLE | {"not_recorded_because": "file"}, CLOSED, None),
        ({}, {"status": Status.FAILED}, None),  # the operator might have begun it, and has not
        (story((60, STARTED), (90, STOPPED)), CLOSED | {"duration_s": 30.0}, None),
        (story((60, STARTED), (90, STOPPED), (200, GOES_ON)), CLOSED | {"duration_s": 30.0}, "short"),
        (story((60, STARTED), (90, ERASED)), {"status": Status.ERASED}, None),
    ],
)
def test_what_is_a_fault(call: dict[str, Any], row: dict[str, Any], why: str | None) -> None:
    of = recording()
    assert shortfall(receipt(of, **call), replace(of, **row)) == why


def test_every_reason_has_its_words() -> None:
    for language in ("en", "fr"):
        words = StatisticsWords(language)
        assert all(words(f"because_{why}") for why in REASONS)


def test_a_host_that_is_lost_in_the_conversation() -> None:
    on = receipt(recording(), ended_at=None, outcome=None, **WHOLE)
    assert lost_receipt(on, LATEST).not_recorded_because == "host_lost"
    told = (*on.events, Event(at=LATEST, what=STOPPED))
    assert lost_receipt(replace(on, events=told), LATEST).not_recorded_because is None


def test_a_host_that_is_lost_after_the_call_with_all_of_its_sound() -> None:
    world = World()
    try:
        world.begin(1)
        world.allow(call(1))
        world.ship()
        told = world.shared.receipt(call(1))
        over = replace(told, ended_at=world.now, events=(Event(at=told.started_at, what=STARTED),))
        world.shared.keep_many([over], [], [])
        world.up.clear()
        world.lose()
        world.complete()
        assert world.shared.receipt(call(1)).not_recorded_because == "nothing"
    finally:
        world.close()


def test_a_recording_that_is_silenced_too_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipagent.call.machines.MOST_SILENCES", 1)
    with staged(tmp_path, monkeypatch, RULES) as stage:
        caller, operator = stage.bridged()
        stage.tell(operator, *pressed(operator, "*6"))
        stage.gone(caller)
        stage.listened()
        assert stage.receipt().not_recorded_because == "silenced"


def test_why_it_is_not_recorded_stays_until_the_file_tells_better(archive: Archive) -> None:
    row = kept.keep(archive, recording())
    archive.store.keep_receipt(receipt(row, ended_at=None, not_recorded_because="short"))
    archive.store.keep_receipt(receipt(row))
    assert archive.store.receipt(row.id).not_recorded_because == "short"


@dataclass
class Trial:
    """One call with one fault. `spoken_s`: for how long both talked while they should be recorded."""

    stage: Stage
    patch: pytest.MonkeyPatch
    dice: random.Random
    spoken_s: float = 0.0
    killed: Path | None = None
    legs: tuple[int, int] = field(default=(0, 0))

    def talk(self, seconds: float) -> None:
        self.stage.talk(*self.legs, seconds)
        self.stage.settle()  # a tap that failed has said so
        self.stage.turn()
        self.spoken_s += seconds

    # --- faults, each begun before the call is bridged, or in the conversation ---

    def no_key(self) -> None:
        path = Path(self.stage.archive.files.spool.base) / "ann.pub"
        path.write_text(self.dice.choice(["", "no key"]))
        self.stage.recorder._recipients = (path,)

    def vault_in_the_way(self) -> None:
        self.no_key()
        self.stage.recorder._recipients[0].write_text(public_line(ANN.public))
        Paths(self.stage.archive).vault.write_text("in the way")

    def full_disk(self) -> None:
        self.patch.setattr(chunks.PartWriter, "_append", no_room())

    def part_gone(self) -> None:
        (row,) = self.stage.archive.store.recordings()
        Paths(self.stage.archive).part(row.id).unlink(missing_ok=True)

    def database_full(self) -> None:
        self.patch.setattr(row_writer, "WITHOUT_S", 0.05)
        self.patch.setattr(row_writer, "RETRY_S", 0.05)
        undo = pytest.MonkeyPatch()
        fill(undo, lambda: True)
        self.patch.setattr(self, "mend", undo.undo, raising=False)

    def not_made(self) -> None:
        self.patch.setattr(recorders, "assemble", raising(AssemblyError("no room")))

    def nothing_heard(self) -> None:
        self.patch.setattr(self.stage.agent.tapping, "hear", lambda *_: None)

    def lost_within(self) -> None:
        samples = self.dice.randrange(8000, 80000, 160)
        for leg in self.legs:
            self.stage.agent.tapping.miss(leg, samples, self.stage.clock.now + samples / 8000)
        self.stage.clock.now += samples / 8000
        self.spoken_s += samples / 8000

    def killed_now(self) -> None:
        """Copies what is on the disk, which is what a kill leaves."""
        wait_for(lambda: all(tap.waiting_s < 0.1 for tap in self.stage.recorder._writer._taps))
        folder = Path(self.stage.archive.files.spool.base)
        self.killed = folder.with_name(f"{folder.name}.killed")
        shutil.copytree(folder, self.killed)

    def mend(self) -> None:
        """What keeps even the database from being written is over."""

    def none(self) -> None:
        """There is none."""


BEFORE = ("no_key", "vault_in_the_way", "full_disk", "database_full", "nothing_heard", "none")
WITHIN = ("full_disk", "part_gone", "not_made", "nothing_heard", "lost_within", "killed_now", "none")


def heard_s(folder: Path) -> float:
    """For how long there is sound in what was kept of the call."""
    archive = kept.archive(folder)
    try:
        rows = [row for row in archive.store.recordings() if row.path]
        if not rows:
            return 0.0
        (row,) = rows
        sound = np.concatenate([*read_sound(Paths(archive).final(row.id, "wav"), None).blocks()])
        return float(
            np.abs(sound[: len(sound) // 160 * 160].reshape(-1, 160, 2)).max(axis=1).any(axis=1).sum() / 50
        )
    finally:
        archive.store.close()


@pytest.mark.parametrize("number", range(tiers.depth(10, 200)))
def test_a_fault_of_the_recorder_is_told_of_with_its_call(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(f"{number}")
    moment, name = dice.choice([*(("before", one) for one in BEFORE), *(("within", one) for one in WITHIN)])
    folder = tmp_path / "office"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as faults, staged(folder, monkeypatch, RULES) as stage:
        monkeypatch.setattr(recorders, "Tap", partial(Tap, queue_s=60.0))  # the clock here runs fast
        trial = Trial(stage, faults, dice)
        fault: Callable[[], None] = getattr(trial, name)
        if moment == "before":
            fault()
        trial.legs = stage.bridged()
        trial.talk(dice.uniform(0.5, 6))
        if dice.random() < 0.3:
            stage.tell(trial.legs[1], *pressed(trial.legs[1], "*6"))
            stage.talk(*trial.legs, dice.uniform(0.5, 5))
            stage.tell(trial.legs[1], *pressed(trial.legs[1], "*6"), after_s=1.0)
        if moment == "within":
            fault()
        spoken_s = trial.spoken_s
        trial.talk(dice.uniform(0.5, 6))
        for leg in trial.legs:
            stage.gone(leg)
        stage.listened()
        trial.mend()
        wait_for(lambda: not stage.recorder._rows.waiting)
        stage.settle()
    place, told_s = folder, trial.spoken_s
    if trial.killed:
        place, told_s = trial.killed, spoken_s
        archive = kept.archive(place)
        recover(archive, "wav", LATEST, stage.alerts.append)
        archive.store.close()
    archive = kept.archive(place)
    found = dict(not_recorded(archive.store, BEGAN))
    archive.store.close()
    short_s = told_s - heard_s(place)
    if short_s > TOLERATED_S + MARGIN_S:
        assert len(found) == 1, (name, moment, short_s)
    elif short_s < TOLERATED_S - MARGIN_S and name in ("none", "lost_within"):
        assert found == {}, (name, moment, short_s)
    if trial.killed:
        assert [*found.values()] == ["died" if heard_s(place) else "nothing"]
