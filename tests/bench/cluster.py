"""`python -m tests.bench.cluster`: what more than one host costs, and what it is worth when one burns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np

from retention.archive import Archive
from retention.files import Places
from retention.marks import Marks
from retention.objects.bucket import PARALLEL, Bucket, BucketPlace
from retention.objects.object_files import ObjectBlobs, ObjectFiles
from retention.purge import purge
from retention.records import Receipt, Recording, Status, new_id
from retention.vault import new_pair
from sipagent.agent.stored import journal_of
from sipagent.config.load import load
from sipagent.softphone.phone import Call, Phone, PhoneTimeout
from tests.bench import cluster_rows, report
from tests.bench.load_mark import find_marks
from tests.bench.load_site import CALLS_A_SECOND, SET_UP_S, site, until
from tests.bench.proc import Spent
from tests.bench.report import Row
from tests.bench.store import NOW, TERMS, call
from tests.cluster.engines import DATABASES, STORE, Engines
from tests.cluster.phones import TRUNK, number_of
from tests.cluster.searching import files_below, versions_of
from tests.cluster.site import Site
from tests.cluster.sound import Marked, key_in
from tests.object_store import keep_as_objects, local_of
from tests.postgres import primary
from tests.s3 import REGION, Weed
from tests.sealed import sealed_store
from tests.sealed_reader import AUDIO, opened

LEASE_S = 12.0  # as it is by default
TALK_S = 15.0  # before its host burns: more than a piece
NO_ANSWER_S = 2.0  # after which a trunk tries the next host
LONGEST_S = 90.0
LOOK_S, HALF_S = 0.02, 0.01


@contextmanager
def hosts(calls: Mapping[str, int], operators: int, durable: bool = False) -> Iterator[Site]:
    """So many hosts, running, with the lease that they have by default.

    `durable`: the database waits for its disk, and has no standby on the same machine.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-hosts-")))
        tables: dict[str, dict[str, Any]] = {"cluster": {"lease_s": LEASE_S}, "operators": {"max_wait_s": 30}}
        settings = {"fsync": "on", "full_page_writes": "on"} if durable else None
        engines = Engines(folder, stack, standby=not durable, settings=settings)
        place = Site(folder, stack, tables, hosts=calls, operators=operators, engines=engines)
        stack.callback(place.kill)
        place.start()
        yield place


class Talking:
    """A caller who talks on a host."""

    def __init__(self, place: Site, host: str, number: int) -> None:
        self._place, self._host = place, place.hosts[host]
        self.source = Marked(number)
        self.phone = place.stack.enter_context(Phone(place.loop, number_of(number), TRUNK))
        self.phone.sound = lambda: self.source
        self._before = self._parts()
        self.call: Call = self.phone.call(self._host.uri)
        self.call.wait_answered()

    def recorded(self) -> str:
        soon(lambda: self._parts() - self._before, "recording begun")
        return next(iter(self._parts() - self._before))

    def _parts(self) -> set[str]:
        return {path.name.partition(".")[0] for path in self._host.agent.directory.rglob("recordings/*.part")}

    def end(self) -> None:
        with suppress(PhoneTimeout):
            if self.call.ended_ns is None:
                self.call.hang_up()
        self.phone.close()


def soon(happened: Callable[[], object], what: str) -> None:
    until(happened, LONGEST_S, what, LOOK_S)


# --- a host burns ---


def deaths(count: int) -> Iterator[Row]:
    """How long until others take what a host had, and how much of its sound is gone."""
    answers, completed, lost = [], [], []
    with hosts({"a": 2, "b": 2, "c": 1}, 4) as place:
        for number in range(count):
            talking = Talking(place, "a", number * 2 + 1)
            id = talking.recorded()
            time.sleep(TALK_S)
            said, began = talking.source.halves, time.monotonic()
            place.hosts["a"].burn()
            answers.append(_answered_elsewhere(place, number * 2 + 2) - began)
            soon(lambda: _is_complete(place, id), "complete receipt")  # noqa: B023
            completed.append(time.monotonic() - began)
            closed = "SELECT count(*) FROM recordings WHERE id = %s AND status = 'closed'"
            soon(lambda: _count(place, closed, id), "closed recording")  # noqa: B023
            lost.append((said - _last_half(place, id)) * HALF_S)
            talking.end()
            place.hosts["a"].start()
    yield Row("a host burns → a new call is answered by another", max(answers), 5, "s", count=count)
    yield Row("the same → its receipts are complete", max(completed), 30, "s", count=count)
    yield Row("the same: sound lost of a call in progress", max(lost), 10, "s", count=count)


def _answered_elsewhere(place: Site, number: int) -> float:
    """When a call that tries one host after the other was answered, monotonic s."""
    with Phone(place.loop, number_of(number), TRUNK) as phone:
        for host in place.hosts.values():
            call = phone.call(host.uri)
            with suppress(PhoneTimeout):
                call.wait_status(NO_ANSWER_S)
            if call.answered_ns is not None:
                call.hang_up()
                return call.answered_ns / 1e9
            call.cancel()
    raise PhoneTimeout("no host answers")


def _is_complete(place: Site, id: str) -> bool:
    return _count(place, "SELECT count(*) FROM receipts WHERE id = %s AND ended_at IS NOT NULL", id) == 1


def _count(place: Site, statement: str, *values: str) -> int:
    with place.engines.first.connect(place.engines.database) as connection:
        (count,) = connection.execute(statement.encode(), values).fetchone() or (0,)
        return int(count)


def _last_half(place: Site, id: str) -> int:
    """The last mark of a caller that can be heard in what is kept."""
    store = place.engines.store
    kept = [one.content for one in versions_of(store.versions(place.engines.bucket)) if id in one.where]
    last = 0
    for key in filter(None, (key_in(content, place.private) for content in kept)):
        for content in kept:
            pcm = b"".join(one[4] for one in opened(content, key) if one[0] == AUDIO)
            found = find_marks(np.ascontiguousarray(np.frombuffer(pcm, "<i2").reshape(-1, 2)[:, 0]))
            last = max(last, int(found[:, 2].max(initial=0)))
    return last


# --- a refusal during the call ---


def refusals(count: int) -> Iterator[Row]:
    """From the key to the last key of the recording, wherever one was."""
    took = []
    with hosts({"a": 2}, 2) as place:
        for number in range(1, count + 1):
            talking = Talking(place, "a", number)
            id = talking.recorded()
            soon(lambda: _keys(place, id), "key in the store")  # noqa: B023
            time.sleep(1 + 0.35 * number)  # at any moment of a piece
            pressed = talking.call.pressed_ns(talking.call.press("9"))
            soon(lambda: not _keys(place, id), "end of the key")  # noqa: B023
            took.append((time.monotonic_ns() - pressed) / 1e9)
            talking.end()
            soon(lambda: _is_complete(place, id), "complete receipt")  # noqa: B023
    yield report.of("a refusal in the call → no key of the recording anywhere", took, 2, "s")


def _keys(place: Site, id: str) -> list[str]:
    """Where a key of this recording is, of any version."""
    client = place.engines.store.client
    listed = client.list_object_versions(Bucket=place.engines.bucket, Prefix=f"kept/vault/{id}")
    places = [one["Key"] for one in listed.get("Versions", [])]
    vaults = [host.agent.directory / "vault" for host in place.hosts.values()]
    return places + [
        one.where for vault in vaults if vault.exists() for one in files_below(vault) if id in one.where
    ]


# --- an operator is free ---


def board() -> Iterator[Row]:
    name = "an operator is free → the next caller's INVITE from another host"
    yield report.p95(name, list(handovers(30)), 50)


def handovers(count: int) -> Iterator[float]:
    """From an operator's BYE to the INVITE by which another host rings for its caller, ms."""
    with hosts({"a": 2, "b": 2}, 1) as place:
        (desk,) = place.desks
        talking = Talking(place, "a", 1)
        for number in range(2, count + 2):
            current = desk.wait_call(15)
            waiting = Talking(place, "ab"[(number + 1) % 2], number)
            time.sleep(2.2)  # notice, window, and some music
            rung = desk.count("INVITE received")
            hung_up = current.hang_up()
            yield (desk.wait_at("INVITE received", rung, 30) - hung_up) / 1e6
            talking.call.wait_ended()
            talking.end()
            talking = waiting
        talking.end()


# --- what a shared database and an object store cost: one load, on a host alone and on one of several ---


def costs(calls: int, seconds: float, turns: int = 2) -> Iterator[Row]:
    """In turns, so that what else the machine does falls upon both."""
    found = [cost(calls, seconds, shared) for _ in range(turns) for shared in (False, True)]
    (before, whole_before, _), (after, whole_after, _) = (
        tuple(map(min, zip(*found[which::2], strict=True))) for which in (0, 1)
    )
    up = min(one[2] for one in found)
    yield Row("calls that were not up at once", calls - up, 0, count=calls)
    yield Row("CPU per recorded call-minute, a host alone", before, None, "s", count=int(up))
    yield Row("the same, one of several", after, None, "s", count=int(up))
    yield Row("more by", (after / before - 1) * 100, 10, "%", count=int(up))
    more = (whole_after / whole_before - 1) * 100
    yield Row("the same with set-up, end, shipping and upload, more by", more, None, "%")


def cost(calls: int, seconds: float, shared: bool) -> tuple[float, float, float]:
    """CPU s a recorded call-minute, of sealed recordings: while all calls are up; with set-up, end, shipping
    and upload. And how many calls were up."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-cost-")))
        public, _ = new_pair(folder / "recordings", None, "DPO")
        more: dict[str, Mapping[str, Any]] = {"recording": {"recipients": [str(public)]}}
        place = stack.enter_context(site(calls, more=more | (_shared(folder, stack) if shared else {})))
        time.sleep(2)  # what a start leaves to do
        began = Spent.now(place.agent.pid)
        _, up = place.call_all(seconds + 2)
        steady, since = Spent.now(place.agent.pid), time.monotonic()
        time.sleep(seconds)
        steadied, lasted = Spent.now(place.agent.pid), time.monotonic() - since
        until(lambda: not place.recorded and place.agent.ended(), LONGEST_S, "end of all calls")
        time.sleep(3)  # what is shipped and put up after the end
        minutes = max(up * (calls / CALLS_A_SECOND + SET_UP_S + seconds + 2) / 60, 0.01)
        whole = Spent.now(place.agent.pid).since(began) / minutes
        return steadied.since(steady) * 60 / lasted / max(up, 1), whole, up


def _shared(folder: Path, stack: ExitStack) -> dict[str, Mapping[str, Any]]:
    engines = Engines(folder, stack)
    return {
        "cluster": {"host": "a"},
        "retention": {"database": engines.first.conninfo(engines.database)},
        "objects": {
            "url": f"s3://{engines.bucket}/kept", "endpoint": engines.store.endpoint, "region": "eu-west-3",
            "credentials_file": str(engines.store.credentials_file(folder)),
        },
    }  # fmt: skip


# --- how many calls a second three hosts bring into their database, from what waits in their journals ---

WAITING, AT_ONCE = 1500, 50  # calls on each host


def ship() -> Iterator[Row]:
    """Their agents run, the lines to the database are cut, calls are written, and the lines flow again."""
    with hosts({"a": 1, "b": 1, "c": 1}, 1, durable=True) as place:
        for host in place.hosts.values():
            host.lines.cut_databases()
        with ProcessPoolExecutor(3) as pool:
            list(pool.map(_write, [host.agent.config for host in place.hosts.values()], place.hosts))
        for host in place.hosts.values():
            host.lines.flow()
        wanted = WAITING * len(place.hosts)
        arrived = "SELECT count(*) FROM receipts JOIN recordings USING (id) WHERE outcome IS NOT NULL"
        soon(lambda: _count(place, arrived), "call in the database")
        first, began = _count(place, arrived), time.monotonic()
        soon(lambda: _count(place, arrived) >= wanted, f"{wanted} calls in the database")
        a_second = (wanted - first) / max(time.monotonic() - began, LOOK_S)
    yield Row("calls shipped by three hosts, ms each", 1000 / a_second, 5, "ms", count=wanted)
    yield Row("that is, a second", a_second)


def _write(config: Path, host: str) -> None:
    with journal_of(load(config), 0) as journal:
        for first in range(0, WAITING, AT_ONCE):
            calls = [_of_host(number, host) for number in range(first, first + AT_ONCE)]
            with journal.write():
                for receipt, recording in calls:
                    journal.add_receipt(replace(receipt, ended_at=None, outcome=None))
                    journal.add_recording(replace(recording, status=Status.OPEN, ended_at=None))
            with journal.write():
                for receipt, recording in calls:
                    journal.update_recording(recording)
                    journal.update_receipt(receipt)


def _of_host(number: int, host: str) -> tuple[Receipt, Recording]:
    receipt, recording = call(number, NOW - timedelta(minutes=5))
    id = new_id(receipt.started_at, 0, host)
    return replace(receipt, id=id, recording_id=id), replace(recording, id=id)


# --- how fast the purge removes recordings whose sound, key and metadata are objects ---


def purges(count: int) -> Iterator[Row]:
    """So many that have all expired, on one host that has a line of its own to either."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-purge-")))
        server = stack.enter_context(primary(DATABASES[0]))
        weed = stack.enter_context(Weed(folder / "weed", STORE)).start()
        credentials = weed.credentials_file(folder)
        bucket = Bucket(BucketPlace(weed.bucket("recordings"), "kept/", weed.endpoint, REGION, credentials))
        store = stack.enter_context(sealed_store(server.database(), ObjectBlobs(bucket), host="a"))
        files = ObjectFiles(bucket, store.objects, local_of(folder))
        archive = Archive(store, files, Marks(folder / "recordings"), Places(folder / "journal.db"))
        for first in range(0, count, 200):
            calls = [call(number, NOW) for number in range(first, min(first + 200, count))]
            keep_as_objects(archive, calls, PARALLEL // 2)
            click.echo(f"{first + len(calls)} recordings", err=True)
        before = sum(1 for _ in bucket.versions("") or ())
        began = time.perf_counter()
        purge(archive, NOW + timedelta(days=400), TERMS)
        seconds = time.perf_counter() - began
        left = sum(row.status is not Status.PURGED for row in store.recordings())
        left += sum(not name.startswith("rows/") for name, _ in bucket.versions("") or ())
    name = f"purge of {count:,} with {before:,} objects, ms each"
    yield Row(name, seconds * 1000 / count, 5, "ms", count=count)
    yield Row("that is, a second", count / seconds)
    yield Row("recordings and objects left", left, 0)


PARTS = ("death", "refusal", "board", "ship", "cost", "lists", "purge")


@click.command()
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="One part of it, or some.")
@click.option("--calls", default=50, show_default=True, help="Calls at once, for what they cost.")
@click.option("--seconds", default=30.0, show_default=True, help="How long they last.")
@click.option("--rows", "count", default=2_000_000, show_default=True, help="Recordings, for the lists.")
@click.option("--objects", default=3_000, show_default=True, help="Recordings, for the purge.")
@report.as_json_option
def main(  # noqa: PLR0917 - click gives them by name
    only: tuple[str, ...], calls: int, seconds: float, count: int, objects: int, as_json: bool
) -> None:
    """Measure it; exit 1 where a target is missed."""
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "death": lambda: deaths(3),
        "refusal": lambda: refusals(10),
        "board": board,
        "ship": ship,
        "cost": lambda: costs(calls, seconds),
        "lists": lambda: cluster_rows.lists(count),
        "purge": lambda: purges(objects),
    }
    report.finish("More than one host, measured live", as_json, parts, only)


if __name__ == "__main__":
    main()
