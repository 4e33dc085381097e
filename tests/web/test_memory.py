"""The memory of a process whose threads send sound."""

import subprocess
import sys

_THREADS = """
import ctypes, sys, threading
from sipagent.web.serving import keep_memory_together

if sys.argv[1] == "together":
    keep_memory_together()
library = ctypes.CDLL(None)
library.fopen.restype, library.malloc.restype = ctypes.c_void_p, ctypes.c_void_p
at_once = threading.Barrier(8)

def take():
    at_once.wait()
    library.malloc(1000)
    at_once.wait()

threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library.malloc_info(0, ctypes.c_void_p(library.fopen(b"/dev/stdout", b"w")))
library.fflush(None)
"""


def places(how: str) -> int:
    """From how many places eight threads have taken memory."""
    command = [sys.executable, "-c", _THREADS, how]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.count("<heap nr=")


def test_threads_take_memory_from_one_place() -> None:
    assert places("apart") > 1
    assert places("together") == 1
