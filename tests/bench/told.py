"""`python -m tests.bench.told`: what events cost. That none is lost by a kill: `tests/test_outbox.py`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
from standardwebhooks import Webhook

from retention import outbox
from sipagent.config.load import Config
from sipagent.service.sending import Sending
from tests import kept
from tests.bench import report
from tests.bench.load import loaded
from tests.bench.proc import spent_s
from tests.bench.report import Row
from tests.kept import keep, recording
from tests.peers.process import free_ports
from tests.peers.receiver import receiving, says
from tests.peers.tls import Certified, certified
from tests.tapping import wait_for
from tests.test_sending import MARKED, told_at

COSTED, A_SECOND = 300, 10  # calls whose rows are costed; written in a second
CALLS, CALL_MINUTE_S = 10, 60.0  # live ones beside which that is

_context = get_context("fork")


@contextmanager
def beside(work: Callable[..., object], *arguments: Any) -> Iterator[int]:
    """A process that works meanwhile; its id."""
    process = _context.Process(target=work, args=arguments, daemon=True)
    process.start()
    try:
        yield process.pid or 0
    finally:
        process.kill()
        process.join()


def send(config: Config) -> None:
    Sending(config, print).start()
    time.sleep(3600)


def receive(port: int, tls: Certified) -> None:
    """Answers once it has verified."""

    def answer(got: Any, connection: Any) -> None:
        for secret in MARKED:
            Webhook(secret).verify(got.body, dict(got.headers))
        says(204)(got, connection)

    with receiving(port=port, tls=tls, answer=answer):
        time.sleep(3600)


def _rows_ms(folder: Path, config: Config | None) -> tuple[float, float]:
    """CPU of a call's rows where they are written, and where its events are sent, if they are; ms."""
    archive = kept.archive(folder)
    outbox.collect(archive.store, datetime.now(UTC))
    with nullcontext(0) if config is None else beside(send, config) as sender:
        time.sleep(2)
        began, before, sent = time.monotonic(), time.process_time(), spent_s(sender) if sender else 0.0
        for number in range(COSTED):
            keep(archive, recording(number))
            time.sleep(max(0.0, began + (number + 1) / A_SECOND - time.monotonic()))
        rows_ms = (time.process_time() - before) / COSTED * 1000
        if not sender:
            return rows_ms, 0.0
        wait_for(lambda: outbox.waiting(archive.store).waiting == 0)
        return rows_ms, (spent_s(sender) - sent) / COSTED * 1000


def cost() -> Iterator[Row]:
    """Two events a call, by https, beside what a recorded call costs with all its processes."""
    with tempfile.TemporaryDirectory(prefix="sipagent-told-") as name:
        folder, port = Path(name), free_ports(1)
        tls = certified(folder, "receiver", "127.0.0.1")
        os.environ["SSL_CERT_FILE"] = str(tls.ca)
        places = [folder / one for one in ("off", "on")]
        for place_ in places:
            place_.mkdir()
        off, _ = _rows_ms(places[0], None)
        config = told_at(port, places[1])
        assert config.events is not None
        by_tls = config.events.model_copy(update={"webhook": f"https://127.0.0.1:{port}/"})
        with beside(receive, port, tls):
            on, sent = _rows_ms(places[1], config.model_copy(update={"events": by_tls}))
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
@report.as_json_option
def main(as_json: bool) -> None:
    """Measure events; exit 1 where a target is missed."""
    report.finish("events", as_json, {"cost": cost})


if __name__ == "__main__":
    main()
