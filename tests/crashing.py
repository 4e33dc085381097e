"""kill -9 at every step that changes the disk: what steps some work takes, and a death right before any.

The work is done in a forked process, which must open its own database. In the full tier `deaths` kills one at
each step. In the quick tier one does all of the work, and before each step what is on the disk is copied:
a kill leaves just that. Its steps, in order:

    create, replace, unlink, mkdir, rmdir, chmod NAME    of what isn't there already, or still is
    write NAME, half of NAME                             before a write, and in the middle of it
    encode NAME, half of NAME                            before a sound library's write, and in its middle
    head NAME                                            a write at its place in the file
    sync NAME                                            fsync or fdatasync of a file or folder
    insert, update, delete TABLE; commit                 of the database

An id in a name is ID. What SQLite does within a commit is its own.
"""

import io
import json
import os
import re
import shutil
import signal
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import soundfile

from retention import files
from tests import tiers

_ID = re.compile(r"\d{8}T\d{9}-[0-9a-f]{6}")
_SQL = re.compile(r"(insert|update|delete) (?:or \w+ )?(?:into |from )?(\w+)|(commit)", re.IGNORECASE)


def steps(work: Callable[[], object]) -> list[str]:
    """All steps of the work, which is done."""
    code, taken = _in_child(work, None)
    assert code == 0
    return taken


def killed_before(number: int, work: Callable[[], object]) -> str | None:
    """Begin the work, and die by SIGKILL right before its step of this number; which one that was.

    None if the work has fewer steps; it is done then.
    """
    code, taken = _in_child(work, number)
    assert code == (-signal.SIGKILL if len(taken) > number else 0)
    return taken[number] if code else None


def deaths(folder: Path, work: Callable[[], object]) -> Iterator[list[str]]:
    """Which steps of the work were done, with `folder` as a kill right after them leaves it; at last all.

    The work begins each time with what is in the folder now, and changes nothing elsewhere. In the quick tier
    a step is passed over that changed nothing there.
    """
    aside = folder.with_name(f"{folder.name}.deaths")
    if tiers.full:
        shutil.copytree(folder, aside)
        number, code = 0, -signal.SIGKILL
        while code:
            shutil.rmtree(folder)
            shutil.copytree(aside, folder)
            code, taken = _in_child(work, number)
            yield taken[:number]
            number += 1
        return
    code, taken = _in_child(work, None, lambda number: shutil.copytree(folder, aside / f"{number}"))
    shutil.copytree(folder, aside / f"{len(taken)}")
    found: object = None
    for number in range(len(taken) + 1):
        left = aside / f"{number}"
        if (there := _all_in(left)) != found or number == len(taken):
            found = there
            shutil.rmtree(folder)
            left.rename(folder)
            yield taken[:number]


def _all_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file in it, by name: its mode and its bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, b"" if path.is_dir() else path.read_bytes())
        for path in folder.rglob("*")
    }


def _in_child(
    work: Callable[[], object], dies_at: int | None, look: Callable[[int], object] | None = None
) -> tuple[int, list[str]]:
    """Its exit code, and the steps that it came to. AssertionError for what it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(work, writing, dies_at, look)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        taken = [json.loads(line) for line in pipe]
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code != 1, taken[-1]
    return code, taken


def _be_child(
    work: Callable[[], object], pipe: int, dies_at: int | None, look: Callable[[int], object] | None
) -> None:
    write, count, looking = os.write, 0, False

    def step(name: str) -> None:
        nonlocal count, looking
        if looking:
            return
        write(pipe, json.dumps(_ID.sub("ID", name)).encode() + b"\n")
        if count == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if look is not None:
            looking = True
            look(count)
            looking = False
        count += 1

    try:
        _watch_files(step)
        _watch_sound(step)
        _watch_database(step)
        work()
    except BaseException:  # noqa: BLE001 - whatever it was, the parent tells
        write(pipe, json.dumps(traceback.format_exc()).encode() + b"\n")
        os._exit(1)
    os._exit(0)


def _watch_files(step: Callable[[str], None]) -> None:
    def watch(called: str, name: Callable[..., str | None]) -> None:
        call = getattr(os, called)

        @wraps(call)
        def watched(*arguments: Any, **named: Any) -> Any:
            what = name(*arguments)
            if what is not None:
                step(what)
            return call(*arguments, **named)

        setattr(os, called, watched)

    def created(path: Any, flags: int, *_: Any) -> str | None:
        return f"create {_name(path)}" if flags & os.O_CREAT and not os.path.lexists(path) else None

    def there(verb: str) -> Callable[..., str | None]:
        return lambda path, *_: f"{verb} {_name(path)}" if os.path.lexists(path) else None

    write = os.write

    def torn(descriptor: int, content: Any) -> int:
        step(f"write {_name(descriptor)}")
        half = memoryview(content)[: len(content) // 2]
        done = write(descriptor, half)
        step(f"half of {_name(descriptor)}")
        return done + write(descriptor, memoryview(content)[done:])

    os.write = torn
    watch("open", created)
    watch("pwrite", lambda target, *_: f"head {_name(target)}")
    for called in ("fsync", "fdatasync"):
        watch(called, lambda target: f"sync {_name(target)}")
    watch("mkdir", lambda path, *_: None if os.path.lexists(path) else f"mkdir {_name(path)}")
    for called in ("replace", "rename", "unlink", "rmdir", "chmod"):
        watch(called, there(called))

    class Unbuffered(io.FileIO):
        def write(self, content: Any) -> int:
            return os.write(self.fileno(), content)

    setattr(files, "open", lambda path, mode, opener=None: Unbuffered(path, mode, opener=opener))  # noqa: B010


def _watch_sound(step: Callable[[str], None]) -> None:
    write = soundfile.SoundFile.write

    def torn(file: soundfile.SoundFile, samples: Any) -> None:
        step(f"encode {_name(file.name)}")
        write(file, samples[: len(samples) // 2])
        step(f"half of {_name(file.name)}")
        write(file, samples[len(samples) // 2 :])

    soundfile.SoundFile.write = torn


def _watch_database(step: Callable[[str], None]) -> None:
    connect, last = sqlite3.connect, ""

    def heard(statement: str) -> None:
        nonlocal last
        fires, last = statement == last, statement  # a trigger: the statement is told again
        if (found := _SQL.match(statement)) and not fires:
            step(" ".join(word.lower() for word in found.groups() if word))

    def connected(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **named)
        connection.set_trace_callback(heard)
        return connection

    setattr(sqlite3, "connect", connected)  # noqa: B010


def _name(target: Any) -> str:
    """Of a path or a descriptor."""
    if isinstance(target, int):
        target = Path(f"/proc/self/fd/{target}").readlink()
    return Path(os.fsdecode(target)).name
