"""Searches what a process holds in its memory, and what lies in a folder, for what must not be there."""

import os
import unicodedata
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from nacl.public import PrivateKey
from numpy.typing import NDArray

from retention.vault import Identity

Needles = Mapping[str, bytes]
"""What is looked for, by what it is."""

_PIECE = 24  # bytes of sound: noise has such a piece once


def of_sound(sound: NDArray[np.int16]) -> Needles:
    """Pieces of it, of every second: as it is stored, of each side alone, and as floats."""
    found = {}
    for at in range(500, len(sound) - _PIECE, 8000):
        for kind, samples in (
            ("both", sound[at:].ravel()),
            ("caller", sound[at:, 0]),
            ("operator", sound[at:, 1]),
        ):
            found[f"{kind} at {at}"] = samples[: _PIECE // 2].astype("<i2").tobytes()
            floats = (samples[: _PIECE // 4] / np.float32(32768)).astype("<f4")
            found[f"{kind} at {at}, as floats"] = floats.tobytes()
    return found


def of_key(identity: Identity) -> Needles:
    """The 32 bytes of a private key, and how they may be written."""
    private = bytes(_private(identity))
    return {
        "private key": private,
        "private key in hexadecimal": private.hex().encode(),
        "private key in base64": b64encode(private).rstrip(b"="),
        "private key in base64 of addresses": urlsafe_b64encode(private).rstrip(b"="),
    }


def of_words(name: str, text: str) -> Needles:
    """Text, in the ways in which programs hold it."""
    forms = {form: unicodedata.normalize(form, text) for form in ("NFC", "NFD")}
    found = {f"{name} {form}": one.encode() for form, one in forms.items()}
    found |= {f"{name} {form}, 16 bits": one.encode("utf-16-le") for form, one in forms.items()}
    return found | {f"{name}, 8 bits": text.encode("latin-1")}


def in_memory(pid: int, needles: Needles) -> list[str]:
    """Which of them a process holds, in whatever it may read."""
    found: set[str] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, rights, *_ = line.split()
            if not rights.startswith("r") or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            first, last = (int(one, 16) for one in where.split("-"))
            with suppress(OSError):  # it is not there any more, or is no memory
                found |= _which(_read(memory, first, last), needles)
    return sorted(found)


def in_files(folders: Iterable[Path], needles: Needles) -> list[str]:
    """Which of them lie in a file below these, and where."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                found += [f"{path}: {name}" for name in sorted(_which(path.read_bytes(), needles))]
    return found


def open_files(pid: int, needles: Needles) -> list[str]:
    """Which of them are in a file that a process has open, with a name or without."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if link.is_file():
                found += [f"{link.readlink()}: {name}" for name in sorted(_which(link.read_bytes(), needles))]
    return found


def _read(memory: Any, first: int, last: int) -> bytes:
    memory.seek(first)
    pieces = []
    while first < last and (piece := memory.read(last - first)):
        pieces.append(piece)
        first += len(piece)
    return b"".join(pieces)


def _which(content: bytes, needles: Needles) -> set[str]:
    return {name for name, needle in needles.items() if needle in content}


def _private(identity: Identity) -> PrivateKey:
    return identity._private


def renderers() -> list[int]:
    """The processes of this one's browsers that show pages."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                found.append(pid)
    return [pid for pid in found if _descends(pid, os.getpid(), parents)]


def _descends(pid: int, from_pid: int, parents: Mapping[int, int]) -> bool:
    while pid in parents and pid != from_pid:
        pid = parents[pid]
    return pid == from_pid
