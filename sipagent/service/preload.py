"""Imports every worker's modules once, in the server from which workers are forked."""

import encodings.idna  # the first address of a process brings it
import gc
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's own threads: a pool in each worker

import holidays  # a schedule may name them

from sipagent.pjsip import library
from sipagent.service import registrar, worker

__all__ = ["encodings", "holidays", "library", "registrar", "worker"]

gc.collect()
gc.freeze()  # shared pages stay shared: the collector would write into them
