"""Round after round: calls, a fault, holds, deletions, purges; then all must be settled, and right."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from retention.records import to_text
from retention.rows.rows import StoreError
from tests.cluster import judging, plan
from tests.cluster.faults import Going
from tests.cluster.host import Answered, Host
from tests.cluster.judging import Harm, Known
from tests.cluster.phones import NUMBERS, Caller, Told
from tests.cluster.searching import files_below, words_in
from tests.cluster.site import Site

SETTLE_S = 60.0
LONG_S = 8.0  # after which it is said what is waited for
WRITTEN = timedelta(seconds=1)  # after a call's end what becomes of it is in its host's journal
TOLD_S = 5.0
LOOK_S = 0.3
PREFIX = "kept/"
KEYS = """SELECT 'rows/' || bundle || '/' || revision FROM key_bundles
    UNION SELECT 'rows/' || bundle || '/' || revision FROM key_revisions"""
AWAY_NS = 5_000_000_000  # so long after the database was back a phone may still be rung while busy
LOGGED_NS = 1_000_000_000  # within which a host's line of the log is read, and its INVITE arrives
DECIDED = ("already", "no recording", "nothing", "refused", "erased", "expired", "purged", "deleted")
FAR = "2040-01-01"
# a put whose answer was lost stays known: it may still arrive
ON_ITS_WAY = """SELECT DISTINCT state || ' ' || name FROM objects WHERE state NOT IN ('there', 'gone')
    AND (state <> 'putting' OR name NOT IN (SELECT name FROM objects WHERE state = 'there'))
    AND (state <> 'removing' OR version IS NOT NULL)"""


@dataclass(slots=True)
class Tally:
    """What has come of all rounds so far."""

    rounds: int = 0
    calls: int = 0
    answered: int = 0
    refused: int = 0
    recorded: int = 0
    held: int = 0
    deleted: int = 0
    purged: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # what they were spent on
    wrong: list[tuple[int, str]] = field(default_factory=list)

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            **{one.name: _sum(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)}
        )


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {name: one.get(name, 0) + other.get(name, 0) for name in [*one, *other]}
    return one + other


class Rounds:
    """All rounds on one site, which runs."""

    def __init__(self, site: Site, seed: int, say: Callable[[str], object] = lambda text: None) -> None:
        self.site, self.seed, self._say = site, seed, say
        self.tally = Tally()
        self.known: dict[int, Known] = {}

    def run(self, number: int, *, search: bool) -> list[str]:
        """One round; what was wrong in it."""
        drawn = plan.draw(self.seed, number)
        chance = random.Random(f"{self.seed}/{number}/run")
        since, before = datetime.now(UTC), self.tally.seconds.copy()
        self.site.forget_calls()
        told, going = self._calls(drawn, chance)
        with self._timed("settling"):
            wrong = going.wrong + self._settle(told, since, going.harms)
        rows = self.site.anyone().receipts(since)
        known, wrong_receipts = judging.receipts_of(told, rows, going.harms)
        wrong += wrong_receipts
        wrong += judging.refusals(told, known, going.harms)
        wrong += judging.operators(self.site.spans())
        wrong += self._rings(going)
        self.known |= {one.number: one for one in known}
        with self._timed("afterwards"):
            wrong += self._afterwards(drawn, known, chance)
        if search:
            with self._timed("searching"):
                wrong += self.search()
        self._count(drawn, told, known, wrong)
        self._tell(drawn, going.what, len(wrong), before)
        return wrong

    def finish(self) -> list[str]:
        """Look into everything; then end all hosts, which must leave nothing that leads to a caller."""
        wrong = self.search()
        self.site.stop()
        for host in self.site.hosts.values():
            left = words_in(files_below(host.agent.directory), [NUMBERS.encode()])
            wrong += [f"a number is left on host {host.name}: {one}" for one in left]
        self.tally.wrong += [(-1, one) for one in wrong]
        return wrong

    def search(self) -> list[str]:
        """Look into everything, whatever the round."""
        wrong: list[str] = []
        # what a failure has left to be removed is the next purge's, which comes every hour
        purged = self.site.anyone().ask("purge", "--clock-ok", "--by", "A. Roux")
        if purged.code:
            wrong.append(f"purge: {purged.said}")
        recordings = {row["id"]: row for row in self.site.anyone().recordings()}
        wrong += judging.stores(self.known.values(), judging.Kept(recordings, self.site.search()))
        wrong += [
            f"a number in clear: {one}" for one in words_in(self.site.database_files(), [NUMBERS.encode()])
        ]
        wrong += self._unnamed()
        verified = self.site.anyone().ask("verify", "--json")
        if verified.code:
            wrong.append(f"verify: {verified.said}")
        return wrong

    def _unnamed(self) -> list[str]:
        """What is in the store, and in no row: a host tells of its own within a second or two."""
        until = time.monotonic() + TOLD_S
        while True:
            store = self.site.engines.store
            there = [
                (name.removeprefix(PREFIX), version)
                for name, version in store.names(self.site.engines.bucket)
            ]
            with self.site.engines.first.connect(self.site.engines.database) as connection:
                objects = connection.execute("SELECT name, version FROM objects").fetchall()
                keys = connection.execute(KEYS).fetchall()
            wrong = judging.unnamed(there, objects, [name for (name,) in keys])
            if not wrong or time.monotonic() > until:
                return wrong
            time.sleep(LOOK_S)

    # --- a round's parts ---

    def _calls(self, drawn: plan.Round, chance: random.Random) -> tuple[list[Told], Going]:
        began = time.monotonic()
        early = plan.NO_FAULT if drawn.fault.late else drawn.fault
        with self._timed("calls"):
            callers = [Caller(self.site.loop, call, self.site.uris, began) for call in drawn.calls]
            going = Going(self.site, early, began, chance)
            for caller in callers:
                caller.thread.join()
        with self._timed("healing"):
            going.end()
        return [caller.told for caller in callers], going

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.tally.seconds[what] = self.tally.seconds.get(what, 0.0) + time.monotonic() - began

    def _settle(self, told: list[Told], since: datetime, harms: Sequence[Harm] = ()) -> list[str]:
        """Wait until nothing is on its way any more; what still is after a minute."""
        until, over_at = time.monotonic() + SETTLE_S, datetime.now(UTC) + WRITTEN
        told_at = time.monotonic() + LONG_S
        while True:
            left = self._unsettled(over_at)
            if not left:
                try:
                    left = judging.receipts_of(told, self.site.anyone().receipts(since), harms)[1]
                except StoreError as error:
                    left = [str(error)]
            if not left:
                return []
            if time.monotonic() > until:
                return [f"not settled: {one}" for one in left]
            if time.monotonic() > told_at:
                self._say(f"  waits for: {'; '.join(left)}")
                told_at = until
            time.sleep(LOOK_S)  # nothing tells

    def _unsettled(self, over_at: datetime) -> list[str]:
        """What is on its way yet; each host must have said how much since `over_at`."""
        left = []
        for host in self.site.hosts.values():
            folder = host.agent.directory / "recordings"
            names = [path.name for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
            left += [f"{host.name}: {name}" for name in names if name.endswith((".part", ".refused"))]
        asked = {
            "not ended": "SELECT id FROM receipts WHERE ended_at IS NULL",
            "not closed": "SELECT status || ' ' || id FROM recordings WHERE status IN ('open', 'purging')",
            "not shipped": "SELECT lag_rows || ' rows of ' || host FROM hosts WHERE lag_rows > 0",
            "on its way": ON_ITS_WAY,
        }
        try:
            with self.site.engines.first.connect(self.site.engines.database) as connection:
                for what, statement in asked.items():
                    left += [f"{what}: {row[0]}" for row in connection.execute(statement.encode())]
                silent = connection.execute("SELECT host FROM hosts WHERE seen_at < %s", [to_text(over_at)])
                left += [f"no word of host {row[0]}" for row in silent]
        except psycopg.Error as error:
            left.append(str(error))
        return left

    def _rings(self, going: Going) -> list[str]:
        away = [(harm.from_ns, harm.to_ns + AWAY_NS) for harm in going.harms]
        if going.database_away:
            begins, ends = going.database_away
            away.append((begins, ends + AWAY_NS))
        for host in self.site.hosts.values():
            away += [(begins - LOGGED_NS, ends + LOGGED_NS) for begins, ends in host.without_board()]
        return judging.rung(self.site.rung_while_busy(), away)

    def _afterwards(self, drawn: plan.Round, known: list[Known], chance: random.Random) -> list[str]:
        """Holds and deletions, with a late fault; what it left undecided is asked again."""
        of_number = {one.number: one for one in known}
        asked = [
            (of_number[call.number], call.then)
            for call in drawn.calls
            if call.then and call.number in of_number and of_number[call.number].recorded
        ]
        late = drawn.fault if drawn.fault.late else plan.NO_FAULT
        going = Going(self.site, late, time.monotonic() - late.at_s + 0.3, chance)
        with ThreadPoolExecutor(4) as pool:
            jobs = [
                pool.submit(self._ask, chance.choice(list(self.site.hosts.values())), *one) for one in asked
            ]
            going.end()
            decided = [job.result() for job in jobs]
        wrong = going.wrong
        for (one, then), said in zip(asked, decided, strict=True):
            answered = said if _is_decided(said) else self._ask(self.site.anyone(), one, then)
            if not _is_decided(answered):
                wrong.append(f"{then} of {one.id}: {answered.said}")
            elif answered.code == 0 or "already" in answered.said:
                one.held |= then == "hold"
                one.deleted |= then == "delete"
        if drawn.purge:
            wrong += self._purge()
        wrong += self._settle([], datetime.now(UTC)) if asked or drawn.purge else []
        return wrong

    def _ask(self, host: Host, one: Known, then: plan.Then) -> Answered:
        if then == "delete":
            return host.ask("delete", one.id, "--reason", "request 1", "--by", "A. Roux", "--yes")
        return host.ask(
            *("hold", one.id, "--ground", "criminal", "--reference", "complaint 1"),
            *("--by", "A. Roux", "--approved-by", "C. Petit", "--review", "2039-01-01"),
        )

    def _purge(self) -> list[str]:
        """Two hosts at once, years from now: all goes but what is held."""
        arguments = ("purge", "--now", FAR, "--force", "--by", "A. Roux", "--json")
        with ThreadPoolExecutor(2) as pool:
            hosts = [self.site.hosts[name] for name in ("a", "b")]
            answers = list(pool.map(lambda host: host.ask(*arguments), hosts))
        if any(answered.code == 0 for answered in answers):
            for one in self.known.values():
                one.purged |= not one.held
            return []
        return [f"purge: {answered.said}" for answered in answers]

    def _count(self, drawn: plan.Round, told: list[Told], known: list[Known], wrong: list[str]) -> None:
        tally = self.tally
        tally.rounds += 1
        tally.calls += len(told)
        tally.answered += sum(one.answered is not None for one in told)
        tally.refused += sum(one.refused for one in known)
        tally.recorded += sum(one.recorded for one in known)
        tally.held += sum(one.held for one in known)
        tally.deleted += sum(one.deleted for one in known)
        tally.purged = sum(one.purged for one in self.known.values())
        name = drawn.fault.kind
        tally.faults[name] = tally.faults.get(name, 0) + 1
        tally.wrong += [(drawn.number, one) for one in wrong]

    def _tell(self, drawn: plan.Round, what: str, wrong: int, before: dict[str, float]) -> None:
        late = ", late" if drawn.fault.late else ""
        took = ", ".join(
            f"{part} {seconds - before.get(part, 0.0):.0f}" for part, seconds in self.tally.seconds.items()
        )
        failed = drawn.fault.kind if late else what
        self._say(f"round {drawn.number}: {len(drawn.calls)} calls, {failed}{late}: {wrong} wrong ({took} s)")


def _is_decided(answered: Answered) -> bool:
    """Whether a command has done what was asked for, or said why that can't be."""
    return answered.code == 0 or any(word in answered.said for word in DECIDED)
