"""What every worker needs, imported once in the server that they are forked from."""

import encodings.idna  # the first address of a process brings it
import gc
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's own threads: a pool in each worker

import holidays  # a schedule may name them

from sipagent.pjsip import library
from sipagent.service import registrar, worker

__all__ = ["encodings", "holidays", "library", "registrar", "worker"]

gc.collect()
gc.freeze()  # what is shared stays so: the collector would write into its pages
