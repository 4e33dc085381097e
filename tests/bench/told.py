"""`python -m tests.bench.told`: events beside kills, and what they cost.

Calls are written all the time; the process that sends and the one that receives die again and again by
SIGKILL, at moments drawn by a seed. The receiver writes down what it gets before it answers, as one that
keeps ids does; sometimes it is slow, or fails when it has it already.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import count
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import click
from standardwebhooks import Webhook, WebhookVerificationError

from retention import outbox
from retention.holds import place, release
from retention.records import Access, Hold, Receipt, Recording
from sipagent.config.load import Config
from sipagent.service import sending
from sipagent.service.sending import Sending
from tests import kept
from tests.bench import report
from tests.bench.load import loaded
from tests.bench.proc import spent_s
from tests.bench.report import Row
from tests.kept import keep, receipt, recording, remove
from tests.peers.process import free_ports
from tests.peers.receiver import receiving, says
from tests.peers.tls import Certified, certified
from tests.tapping import wait_for
from tests.test_sending import MARKED, told_at

KILLS, SEED = 240, 33
PAUSES_S = (0.01, 0.25)  # between two kills
CALL_S = 0.05  # between two calls
HASTE = {"FIRST_S": 0.02, "LONGEST_S": 0.2, "LONGEST_REST_S": 0.05, "HEAD_S": 0.05}
HOLD = Hold(ground="criminal", reference="PV 7", review="2999-01-31", by="Ann", approved_by="Ben")
WHO = Access(at=datetime.now(UTC), action="hold", by="Ann")
ENDED, NOT_RECORDED, CLOSED = "call.ended", "call.not_recorded", "recording.closed"
COSTED, A_SECOND = 300, 10  # calls whose rows are costed; written in a second
CALLS, CALL_MINUTE_S = 10, 60.0  # live ones beside which that is

_context = get_context("fork")


class Mortal:
    """A process that is killed, and begins anew."""

    def __init__(self, work: Callable[..., object], *arguments: Any) -> None:
        self._work, self._arguments = work, arguments
        self.process: ForkProcess = self._begun()

    def _begun(self) -> ForkProcess:
        process = _context.Process(target=self._work, args=self._arguments, daemon=True)
        process.start()
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.process = self._begun()

    def close(self) -> None:
        self.process.kill()
        self.process.join()


def send(config: Config, haste: dict[str, float]) -> None:
    for name, seconds in haste.items():
        setattr(sending, name, seconds)
    Sending(config, print).start()
    time.sleep(3600)


def receive(port: int, file: Path, seed: int | None, tls: Certified | None = None) -> None:
    """A line for each event, whole, before it is answered. Without a `seed` it is well."""
    pick = None if seed is None else random.Random(f"{seed} {time.monotonic_ns()}")

    def answer(got: Any, connection: Any) -> None:
        try:
            for secret in MARKED:
                Webhook(secret).verify(got.body, dict(got.headers))
            right = True
        except WebhookVerificationError:
            right = False
        line = {"id": got.headers["webhook-id"], "right": right, "body": json.loads(got.body)}
        with file.open("ab", buffering=0) as lines:
            lines.write(b"\n" + json.dumps(line).encode() + b"\n")
        if pick is not None:
            time.sleep(pick.choice((0, 0, 0, 0.02)))
        says(500 if pick is not None and pick.random() < 0.05 else 204)(got, connection)

    with receiving(port=port, tls=tls, answer=answer):
        time.sleep(3600)


def write(folder: Path, over: Any, seed: int) -> None:
    """Calls of all kinds, until it is told to end; what each must be told of stands in `wanted`."""
    archive, pick = kept.archive(folder), random.Random(seed)
    with (folder / "wanted").open("w") as wanted:

        def act(call: str, *types: str) -> None:
            wanted.write("".join(f"{call} {one}\n" for one in types))

        for number in count():
            row = recording(number)
            if over.wait(CALL_S * pick.random() * 2):
                return
            if pick.random() < 0.2:
                archive.store.add_receipt(receipt(row, recording_id=None, not_recorded_because="disk"))
                act(row.id, ENDED, NOT_RECORDED)
                continue
            keep(archive, row)
            act(row.id, ENDED, CLOSED)
            if pick.random() < 0.5:
                place(archive, row.id, HOLD, WHO)
                act(row.id, "hold.placed")
                release(archive, row.id, WHO)
                act(row.id, "hold.released")
            if pick.random() < 0.5:
                remove(archive, row.id, datetime.now(UTC))
                act(row.id, "recording.purged")


def kills(times: int, seed: int) -> Iterator[Row]:
    """Who sends and who receives, as often as that in all."""
    pick, port = random.Random(seed), free_ports(1)
    with tempfile.TemporaryDirectory(prefix="sipagent-told-") as name, ExitStack() as stack:
        folder = Path(name)
        file, config, over = folder / "received", told_at(port, folder), _context.Event()
        with kept.archive(folder).store as store:
            outbox.collect(store, datetime.now(UTC))
        file.touch()
        mortals = [Mortal(send, config, HASTE), Mortal(receive, port, file, seed)]
        for one in mortals:
            stack.callback(one.close)
        writer = _context.Process(target=write, args=(folder, over, seed))
        writer.start()
        stack.callback(writer.kill)
        killed = Counter[int]()
        for _ in range(times):
            time.sleep(pick.uniform(*PAUSES_S))
            which = pick.randrange(2)
            mortals[which].kill()
            killed[which] += 1
        over.set()
        writer.join()
        yield Row("kills of the process that sends", killed[0], None)
        yield Row("kills of the one that receives", killed[1], None)
        wanted: dict[str, list[str]] = {}
        for line in (folder / "wanted").read_text().splitlines():
            wanted.setdefault(line.split()[0], []).append(line.split()[1])
        with kept.archive(folder).store as store, suppress(AssertionError):
            wait_for(lambda: outbox.waiting(store).waiting == 0 and _all_in(file, wanted))
        yield from _judged(file, wanted)


def _received(file: Path) -> list[dict[str, Any]]:
    """A line that a kill has cut was never answered."""
    found = []
    for line in file.read_text().splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def _all_in(file: Path, wanted: dict[str, list[str]]) -> bool:
    return len({one["id"] for one in _received(file)}) >= sum(map(len, wanted.values()))


def _judged(file: Path, wanted: dict[str, list[str]]) -> Iterator[Row]:
    """As one that passes over the ids that it has."""
    received = _received(file)
    first = {one["id"]: one for one in reversed(received)}
    once = [one for one in received if first[one["id"]] is one]
    got: dict[str, list[str]] = {call: [] for call in wanted}
    unwhole = 0
    for one in once:
        body, data = one["body"], one["body"]["data"]
        got.setdefault(data["id"], []).append(body["type"])
        fields = outbox.OPEN[Receipt if body["type"].startswith("call.") else Recording]
        unwhole += not (one["right"] and {"reference", *fields} <= data.keys() and body["timestamp"])
    lost = doubled = disordered = 0
    for call, types in got.items():
        must = Counter(wanted.get(call, ()))
        lost += (must - Counter(types)).total()
        doubled += (Counter(types) - must).total()
        disordered += must == Counter(types) and types != wanted[call]
    events = sum(map(len, wanted.values()))
    yield Row("calls written meanwhile", len(wanted), None)
    yield Row("events lost", lost, 0, count=events)
    yield Row("events doubled, by id", doubled, 0, count=events)
    yield Row("calls whose events came in another order", disordered, 0, count=len(wanted))
    yield Row("events not whole, or not signed", unwhole, 0, count=len(once))
    yield Row("sent more than once, with the same id", len(received) - len(once), None)


# --- what it costs ---


def _rows_ms(folder: Path, config: Config | None) -> tuple[float, float]:
    """CPU of a call's rows where they are written, and where its events are sent, if they are; ms."""
    with kept.archive(folder).store as store:
        outbox.collect(store, datetime.now(UTC))
    sender = None if config is None else Mortal(send, config, {})
    try:
        time.sleep(2)
        archive, began = kept.archive(folder), time.monotonic()
        before, sent = time.process_time(), 0.0 if sender is None else spent_s(sender.process.pid or 0)
        for number in range(COSTED):
            keep(archive, recording(number))
            time.sleep(max(0.0, began + (number + 1) / A_SECOND - time.monotonic()))
        rows_ms = (time.process_time() - before) / COSTED * 1000
        if sender is None:
            return rows_ms, 0.0
        wait_for(lambda: outbox.waiting(archive.store).waiting == 0)
        return rows_ms, (spent_s(sender.process.pid or 0) - sent) / COSTED * 1000
    finally:
        if sender is not None:
            sender.close()


def cost() -> Iterator[Row]:
    """Two events a call, by https, beside what a recorded call costs with all its processes."""
    with tempfile.TemporaryDirectory(prefix="sipagent-told-") as name:
        folder, port = Path(name), free_ports(1)
        tls = certified(folder, "receiver", "127.0.0.1")
        os.environ["SSL_CERT_FILE"] = str(tls.ca)
        receiver = Mortal(receive, port, folder / "received", None, tls)
        places = [folder / one for one in ("off", "on")]
        for place_ in places:
            place_.mkdir()
        off, _ = _rows_ms(places[0], None)
        config = told_at(port, places[1])
        assert config.events is not None
        by_tls = config.events.model_copy(update={"webhook": f"https://127.0.0.1:{port}/"})
        on, sent = _rows_ms(places[1], config.model_copy(update={"events": by_tls}))
        receiver.close()
    yield Row("CPU of a call's rows, events off", off, None, "ms", count=COSTED)
    yield Row("the same, events on", on, None, "ms", count=COSTED)
    yield Row("CPU of sending its events", sent, None, "ms", count=COSTED)
    live = {row.name: row.value for row in loaded(CALLS, CALL_MINUTE_S, None, None)}
    a_minute, ends = live["CPU per recorded call-minute"] * 1000, live["set-up and end alone, a call"]
    more = max(0.0, on - off) + sent  # less is noise: nothing there is spared
    for minutes, limit in ((1, None), (3, 1)):
        name, whole = f"a recorded call of {minutes} min", a_minute * minutes + ends
        yield Row(f"CPU of {name}, all processes", whole, None, "ms", count=CALLS)
        yield Row(f"more with events, of {name}", more / whole * 100, limit, "%")


@click.command()
@click.option("--kills", "times", default=KILLS, show_default=True, help="Of both processes together.")
@click.option("--seed", default=SEED, show_default=True, help="Of the moments.")
@click.option("--only", type=click.Choice(["kills", "cost"]), multiple=True)
@report.as_json_option
def main(times: int, seed: int, only: tuple[str, ...], as_json: bool) -> None:
    """Measure events; exit 1 where a target is missed."""
    parts = {"kills": lambda: kills(times, seed), "cost": cost}
    report.finish("events", as_json, parts, only)


if __name__ == "__main__":
    main()
