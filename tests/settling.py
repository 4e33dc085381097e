"""Waiting until a recorder has done all that it was given."""

import threading
from datetime import UTC, datetime

from sipagent.agent.recorder import Recorder
from sipagent.agent.row_writer import Worker
from tests.tapping import PATIENCE_S, wait_for


def settle(recorder: Recorder) -> None:
    """In the order in which one thread gives work to the next."""
    erasing = recorder._erasing
    for worker in (erasing._mark, erasing._eraser, recorder._quick, recorder._slow):
        empty(worker)
    settle_rows(recorder)
    wait_for(lambda: not recorder._rows.rejected.due(datetime.now(UTC)))


def settle_rows(recorder: Recorder) -> None:
    """Whatever was to be written so far is."""
    assert recorder._rows.put("", lambda: None).done.wait(PATIENCE_S)


def empty(worker: Worker) -> None:
    """All that this thread was given so far is done."""
    done = threading.Event()
    worker.put(done.set)
    assert done.wait(PATIENCE_S)
