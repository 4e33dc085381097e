"""Two hosts that share a database, without networks: host `a` has calls, host `b` completes what `a` leaves.

Every action is one that a host, a person or a crash does; `looks_whole` says after each that nothing was lost
or undone, `ends_whole` at the end that every call has exactly one receipt, and the right one.
"""

import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from retention.erase import allows
from retention.journal import Journal
from retention.marks import REFUSED
from retention.records import HostState, Receipt, Recording, Status, due_date
from retention.rows.chain import TABLES, ChainEntry, differences
from retention.rows.pages import Listing
from retention.rows.rows import UnknownId
from retention.shipping import LostHosts, Presence, Shipper, must_go
from retention.sqlite import Store
from tests.kept import START
from tests.shared_sqlite import SharedInSqlite

LEASE_S = 12.0
HOLD = {"ground": "criminal", "reference": "7", "by": "x", "approved_by": "y", "review": "2027-01-01"}
_WAITING = "SELECT kind, subject FROM chain WHERE seq > ? ORDER BY seq"
GONE = (Status.ERASED, Status.FAILED, Status.PURGING, Status.PURGED)


class Crash(Exception):
    """A process died."""


@dataclass
class Truth:
    """What the host did with a call, whatever anybody was told."""

    refused: bool = False
    ended: bool = False
    died: bool = False  # in the call, and was started again


def call(number: int) -> str:
    """The id of a call of host `a`."""
    return f"{START:%Y%m%dT%H%M%S}123-ha-{number:06d}"


@dataclass(frozen=True)
class State:
    """A world at one moment; two that are `alike` can only go on alike."""

    journal: bytes
    shared: bytes
    rest: bytes
    alike: tuple[object, ...]


@dataclass
class World:
    """`sound`: of which calls host `a` has some; `up`: of which the store has pieces."""

    now: datetime = START
    sound: set[str] = field(default_factory=set)
    up: set[str] = field(default_factory=set)
    calls: dict[str, Truth] = field(default_factory=dict)
    refusals: set[str] = field(default_factory=set)  # that the shared database has known
    holds: set[str] = field(default_factory=set)
    purged: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.shared = SharedInSqlite(":memory:", lambda: self.now)
        self.journal = Journal(":memory:", lambda: self.now)
        self.shipper = self._new_shipper()
        self.fails: str | None = None

    def close(self) -> None:
        self.shared.close()
        self.journal.close()

    def _new_shipper(self) -> Shipper:
        return Shipper(self.journal, self.shared, "a", "1.0", LEASE_S)

    # what a host does with its calls

    def begin(self, number: int) -> None:
        id = call(number)
        if id not in self.calls:
            self.calls[id] = Truth()
            expires_at = due_date(START, "6 months")
            told = Receipt(
                id=id, call_id=f"{number}@a", caller="+336", started_at=START, expires_at=expires_at
            )
            self.journal.add_receipt(told)

    def allow(self, id: str) -> None:
        told = self._mine(id)
        if told is not None and told.decision == "undecided" and told.ended_at is None:
            expires_at = due_date(START, "6 months")
            with self.journal.write():
                self.journal.update_receipt(replace(told, decision="allowed", recording_id=id))
                self.journal.add_recording(
                    Recording(id=id, call_id=told.call_id, started_at=START, expires_at=expires_at)
                )
            self.sound.add(id)
            self.up.add(id)

    def refuse(self, id: str, *, crash: bool = False) -> None:
        """Sound goes first, then the receipt says so, then the row."""
        told = self._mine(id)
        if told is None or told.ended_at is not None or told.decision == REFUSED:
            return
        self.calls[id].refused = True
        self._remove(id)
        self.journal.update_receipt(replace(told, decision=REFUSED, decided_by="dtmf"))
        if not crash:
            self._erase_row(id)

    def keep(self, id: str) -> None:
        with suppress(UnknownId):
            row = self.journal.recording(id)
            if row.status is Status.OPEN and id in self.sound:
                self.journal.update_recording(replace(row, status=Status.CLOSED, bytes=100))

    def end(self, id: str) -> None:
        told = self._mine(id)
        if told is not None and told.ended_at is None:
            self.calls[id].ended = True
            self.journal.update_receipt(replace(told, outcome="connected", ended_at=self.now))

    def restart(self) -> None:
        """The host's process died, and what it left is finished from the journal alone."""
        self.shipper = self._new_shipper()
        for told in self.journal.open_receipts():
            self.calls[told.id].ended = self.calls[told.id].died = True
            self.journal.update_receipt(replace(told, outcome="failed", ended_at=self.now))
        for row in self.journal.recordings():
            told = self.journal.receipt(row.id)
            if not allows(told) and row.status in (Status.OPEN, Status.CLOSED):
                self._remove(row.id)
                self._erase_row(row.id)
            elif row.status is Status.OPEN:
                self.journal.update_recording(replace(row, status=Status.CLOSED, incomplete=True, bytes=50))

    # what goes between hosts

    def ship(self, limit: int = 500, crash: str | None = None) -> bool:
        """`crash`: `before` the shared database has it, or `after`, when the journal has it still."""
        self.now += timedelta(seconds=1)
        keep_many, drop = self.shared.keep_many, self.journal.drop
        try:
            if crash == "before":
                self.shared.keep_many = _dying(keep_many)  # type: ignore[method-assign]
            elif crash == "after":
                self.journal.drop = _dying(drop)  # type: ignore[method-assign]
            sent = self.shipper.ship(Presence(), limit)
            told = sent or self.shipper.renew(Presence())
        except Crash:
            self.shipper = self._new_shipper()
            return True
        finally:
            for of, name in ((self.shared, "keep_many"), (self.journal, "drop")):
                with suppress(AttributeError):
                    delattr(of, name)
        for id in told.gone:
            self._remove(id)
        return sent is not None

    def lose(self) -> None:
        self.now += timedelta(seconds=LEASE_S + 1)

    def complete(self, crash: str | None = None) -> None:
        """`crash`: after `receipts`, or after `sound` and before its row."""
        self.fails = crash
        with suppress(Crash):
            LostHosts(self.shared, Reached(self), "b").complete()

    # what people do

    def hold(self, id: str) -> None:
        with suppress(UnknownId):
            row, told = self.shared.recording(id), self.shared.receipt(id)
            if row.status is Status.CLOSED and told.ended_at is not None and not must_go(row, told):
                self.shared.update_recording(replace(row, hold=HOLD))
                self.holds.add(id)

    def purge(self, id: str, *, crash: bool = False) -> None:
        with suppress(UnknownId):
            row = self.shared.recording(id)
            if row.hold is not None or row.purged_at is not None or row.status is Status.OPEN:
                return
            if self.shared.receipt(id).ended_at is None:
                return
            if row.status is Status.CLOSED:
                row = replace(row, status=Status.PURGING)
                self.shared.update_recording(row)
            self.purged.add(id)
            self.up.discard(id)
            if not crash:
                status = Status.PURGED if row.status is Status.PURGING else row.status
                self.shared.update_recording(row.tombstone(status, self.now))
                self.shared.update_receipt(self.shared.receipt(id).anonymous())

    # what must hold

    def looks_whole(self) -> None:
        _chain_is_whole(self.shared)
        receipts = {told.id: told for told in self.shared.receipts()}
        rows = {row.id: row for row in self.shared.recordings()}
        here = {told.id for told in self.journal.receipts()}
        assert self.calls.keys() == receipts.keys() | here, "a call was lost"
        self.refusals |= {id for id, told in receipts.items() if told.decision == REFUSED}
        assert all(receipts[id].decision == REFUSED for id in self.refusals), "a refusal was undone"
        for id in self.holds:
            refused = receipts[id].decision == REFUSED
            assert rows[id].hold == HOLD or (refused and rows[id].status in GONE), "a hold was lost"
        assert all(rows[id].status in GONE for id in self.purged), "what was purged is back"
        for id, truth in self.calls.items():
            assert not (truth.refused and id in self.sound | self.up), "sound of who refused is there"

    def ends_whole(self) -> None:
        """Everything arrives in the end."""
        self.restart()
        while self.ship():
            self.looks_whole()
        assert self.journal.receipts() == [] and self.journal.recordings() == []
        receipts = {told.id: told for told in self.shared.receipts()}
        assert receipts.keys() == self.calls.keys()
        for id, truth in self.calls.items():
            told = receipts[id]
            assert told.ended_at is not None
            assert told.outcome == ("failed" if truth.died else "connected"), "another's word stayed"
            assert (told.decision == REFUSED) == truth.refused
        for row in self.shared.recordings():
            assert row.status is not Status.OPEN
            assert not (self.calls[row.id].refused and row.status is Status.CLOSED)
        assert all(host.state(self.now) is HostState.RUNNING for host in self.shared.hosts())

    # moments

    def state(self) -> State:
        journal, shared = (of._connection.serialize() for of in (self.journal, self.shared))
        return State(journal, shared, pickle.dumps(self._told()), self._alike())

    def put_back(self, state: State) -> None:
        self.journal._connection.deserialize(state.journal)
        self.shared._connection.deserialize(state.shared)
        told = pickle.loads(state.rest)
        self.now, self.sound, self.up, self.calls, self.refusals, self.holds, self.purged = told
        self.shipper = self._new_shipper()

    def _told(self) -> tuple[object, ...]:
        return self.now, self.sound, self.up, self.calls, self.refusals, self.holds, self.purged

    def _alike(self) -> tuple[object, ...]:
        """Without moments, and the numbers of entries but how they lie to each other."""
        first = self.journal.shipped
        waits = [(row["kind"], row["subject"]) for row in self.journal._read(_WAITING, [first])]
        hosts = [(host.state(self.now), max(0, host.shipped - first)) for host in self.shared.hosts()]
        rows = [
            [_plain(row) for row in of.receipts() + of.recordings()] for of in (self.journal, self.shared)
        ]
        return (repr((waits, hosts, rows, self.sound, self.up, self.calls, self.holds, self.purged)),)

    # steps

    def _mine(self, id: str) -> Receipt | None:
        with suppress(UnknownId):
            return self.journal.receipt(id)
        return None

    def _erase_row(self, id: str) -> None:
        with suppress(UnknownId):
            row = self.journal.recording(id)
            self.journal.update_recording(replace(row, status=Status.ERASED, bytes=None))

    def _remove(self, id: str) -> None:
        self.sound.discard(id)
        self.up.discard(id)


@dataclass
class Reached:
    """What host `b` reaches of the recordings of `a`."""

    world: World

    def close(self, recording: Recording) -> Recording | None:
        world = self.world
        if world.fails == "receipts":
            raise Crash
        if recording.id not in world.up:
            return None
        if world.fails == "sound":
            raise Crash
        if world.fails == "lives":
            world.ship()
        return replace(recording, status=Status.CLOSED, incomplete=True, bytes=70, ended_at=world.now)

    def erase(self, id: str) -> None:
        if self.world.fails == "receipts":
            raise Crash
        self.world.up.discard(id)
        if self.world.fails == "sound":
            raise Crash


def _plain(row: Receipt | Recording) -> dict[str, object]:
    json = row.to_json()
    json["events"] = [event["what"] for event in json.get("events", [])]
    return {name: value if not name.endswith("_at") else value is not None for name, value in json.items()}


def _dying(step: Callable[..., object]) -> Callable[..., None]:
    def die(*values: object) -> None:
        raise Crash

    return die


def _chain_is_whole(store: Store) -> None:
    entries = [ChainEntry(**row) for row in store.each(Listing(table="chain", order=("seq",)))]
    before = "0" * 64
    for number, entry in enumerate(entries, start=1):
        assert entry.seq == number and entry.follows(before)
        assert entry.kind != "altered"
        before = entry.hash
    for kind, table in TABLES.items():
        for row in store.each(Listing(table=table, order=("id",))):
            assert differences(kind, row, entries[row["chain_seq"] - 1]) == []
