"""Calls on two or three hosts: one of them burns, a caller refuses, an operator is free for the next."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sipagent.softphone.phone import Call, Phone, PhoneTimeout
from tests.bench import report
from tests.bench.load_mark import find_marks
from tests.bench.report import Row
from tests.cluster.engines import Engines
from tests.cluster.host import Host
from tests.cluster.phones import TRUNK, number_of
from tests.cluster.searching import files_below, versions_of
from tests.cluster.site import Site
from tests.cluster.sound import Marked, key_in
from tests.peers.process import PeerError
from tests.sealed_reader import AUDIO, opened

LEASE_S = 12.0  # as it is by default
TALK_S = 15.0  # before its host burns: more than a piece
NO_ANSWER_S = 2.0  # after which a trunk tries the next host
LONGEST_S = 60.0
LOOK_S = 0.02
T = TypeVar("T")
HALF_S = 0.01


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
        site = Site(folder, stack, tables, hosts=calls, operators=operators, engines=engines)
        stack.callback(site.kill)
        site.start()
        yield site


class Talking:
    """A caller who talks on a host, and is recorded."""

    def __init__(self, site: Site, host: Host, number: int) -> None:
        self.number, self.source = number, Marked(number)
        self.phone = site.stack.enter_context(Phone(site.loop, number_of(number), TRUNK))
        self.phone.sound = lambda: self.source
        before = _parts(host)
        self.call: Call = self.phone.call(host.uri)
        self.call.wait_answered()
        self.id = until(lambda: next(iter(_parts(host) - before), None), 15, "recording begun")

    def end(self) -> None:
        with suppress(PhoneTimeout):
            if self.call.ended_ns is None:
                self.call.hang_up()
        self.phone.close()


def _parts(host: Host) -> set[str]:
    return {path.name.partition(".")[0] for path in host.agent.directory.rglob("recordings/*.part")}


def until(ask: Callable[[], T | None], timeout: float, what: str) -> T:
    """The first answer that says something; PeerError after `timeout` s."""
    deadline = time.monotonic() + timeout
    while not (found := ask()):
        if time.monotonic() > deadline:
            raise PeerError(f"no {what} within {timeout:g} s")
        time.sleep(LOOK_S)  # nothing tells
    return found


# --- a host burns ---


def deaths(count: int) -> list[Row]:
    """How long until others take what a host had, and how much of its sound is gone."""
    answers, completed, lost = [], [], []
    with hosts({"a": 2, "b": 2, "c": 1}, 4) as site:
        burning = site.hosts["a"]
        for number in range(count):
            talking = Talking(site, burning, number * 2 + 1)
            time.sleep(TALK_S)
            said, began = talking.source.halves, time.monotonic()
            burning.burn()
            answers.append(_answered_elsewhere(site, number * 2 + 2) - began)
            until(partial(_complete, site, talking.id), LONGEST_S, "complete receipt")
            completed.append(time.monotonic() - began)
            until(partial(_closed, site, talking.id), LONGEST_S, "closed recording")
            lost.append((said - _last_half(site, talking)) * HALF_S)
            talking.end()
            burning.start()
    return [
        Row("a host burns → a new call is answered by another", max(answers), 5, "s", count=count),
        Row("the same → its receipts are complete", max(completed), 30, "s", count=count),
        Row("the same: sound lost of a call in progress", max(lost), 10, "s", count=count),
    ]


def _answered_elsewhere(site: Site, number: int) -> float:
    """When a call that tries one host after the other was answered, monotonic s."""
    with Phone(site.loop, number_of(number), TRUNK) as phone:
        for host in site.hosts.values():
            call = phone.call(host.uri)
            with suppress(PhoneTimeout):
                call.wait_status(NO_ANSWER_S)
            if call.answered_ns is not None:
                call.hang_up()
                return call.answered_ns / 1e9
            call.cancel()
    raise PeerError("no host answers")


def _complete(site: Site, id: str) -> bool:
    return _count(site, "SELECT count(*) FROM receipts WHERE id = %s AND ended_at IS NOT NULL", id) == 1


def _closed(site: Site, id: str) -> bool:
    return _count(site, "SELECT count(*) FROM recordings WHERE id = %s AND status = 'closed'", id) == 1


def _count(site: Site, statement: str, id: str) -> int:
    with site.engines.first.connect(site.engines.database) as connection:
        (count,) = connection.execute(statement.encode(), [id]).fetchone() or (0,)
        return int(count)


def _last_half(site: Site, talking: Talking) -> int:
    """The last mark of a caller that can be heard in what is kept."""
    places = [
        p for p in versions_of(site.engines.store.versions(site.engines.bucket)) if talking.id in p.where
    ]
    keys = [key for place in places if (key := key_in(place.content, site.private))]
    last = 0
    for place in places:
        for key in keys:
            pcm = b"".join(one[4] for one in opened(place.content, key) if one[0] == AUDIO)
            found = find_marks(np.ascontiguousarray(np.frombuffer(pcm, "<i2").reshape(-1, 2)[:, 0]))
            if len(found):
                last = max(last, int(found[:, 2].max()))
    return last


# --- a refusal during the call ---


def refusals(count: int) -> list[Row]:
    """From the key to the last key of the recording, wherever one was."""
    took = []
    with hosts({"a": 2}, 2) as site:
        host = site.hosts["a"]
        for number in range(1, count + 1):
            talking = Talking(site, host, number)
            until(partial(_keys, site, talking.id), 15, "key in the store")
            time.sleep(1 + 0.35 * number)  # at any moment of a piece
            pressed = talking.call.pressed_ns(talking.call.press("9"))
            until(partial(_keyless, site, talking.id), LONGEST_S, "end of the key")
            took.append((time.monotonic_ns() - pressed) / 1e9)
            talking.end()
            until(partial(_complete, site, talking.id), LONGEST_S, "complete receipt")
    return [report.of("a refusal in the call → no key of the recording anywhere", took, 2, "s")]


def _keys(site: Site, id: str) -> list[str]:
    """Where a key of this recording is, of any version."""
    client = site.engines.store.client()
    listed = client.list_object_versions(Bucket=site.engines.bucket, Prefix=f"kept/vault/{id}")
    places = [one["Key"] for one in listed.get("Versions", [])]
    for host in site.hosts.values():
        vault = host.agent.directory / "vault"
        places += [
            place.where for place in (files_below(vault) if vault.exists() else ()) if id in place.where
        ]
    return places


def _keyless(site: Site, id: str) -> bool:
    return not _keys(site, id)


# --- an operator is free ---


def handovers(count: int) -> list[Row]:
    """From an operator's BYE to the INVITE by which another host rings for its caller, ms."""
    took = []
    with hosts({"a": 2, "b": 2}, 1) as site:
        (desk,) = site.desks
        names = ("a", "b")
        phone, talking = _call(site, "a", 1)
        current = desk.wait_call(15)
        for number in range(2, count + 2):
            waiting = _call(site, names[(number + 1) % 2], number)
            time.sleep(2.2)  # notice, window, and some music
            rung = desk.count("INVITE received")
            hung_up = current.hang_up()
            took.append((desk.wait_at("INVITE received", rung, 30) - hung_up) / 1e6)
            current = desk.wait_call(15)
            talking.wait_ended()
            phone.close()
            phone, talking = waiting
        talking.hang_up()
        phone.close()
    worst = report.of("", took, 50)
    name = "an operator is free → the next caller's INVITE from another host, p95"
    return [Row(name, worst.worst or 0.0, 50, "ms", max(took), count)]


def _call(site: Site, host: str, number: int) -> tuple[Phone, Call]:
    phone = Phone(site.loop, number_of(number), TRUNK)
    phone.sound = lambda: Marked(number)
    call = phone.call(site.hosts[host].uri)
    call.wait_answered()
    return phone, call
