"""Makes the heads of the detector, from many synthetic voices, and people's, over many bad lines.

    speak ──▶ sounds/ ──▶ features ──▶ features/ ──▶ fit ──▶ media/heads/fr.npz, fr.md

Nothing of it is needed to take calls. `python -m media.training --help` says what to install; the same
commands make the same sounds on the same kind of machine. Speakers are kept separate: a voice is in `train`,
`tune` (to choose thresholds) or `test` (only for measuring).
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_processes(work: Callable[..., Result], of_each: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
    """What `work`, a function of a module, gives for each of these arguments, in the order in which it is
    done. Raises what it raises, and BrokenProcessPool."""
    with processes() as pool:
        for done in as_completed([pool.submit(work, *one) for one in of_each]):
            yield done.result()


@contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    """Processes, one for each core, each with one thread; they end at once if this process is ended."""
    narrow = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    before = {name: os.environ.get(name) for name in narrow}
    os.environ.update(narrow)  # they read it when they start
    context, others = multiprocessing.get_context("spawn"), multiprocessing.active_children()
    pool = ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, initializer=_serve_parent)
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _serve_parent() -> None:
    """Ctrl-C is for the parent process, and a worker ends with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)
