"""A bucket in memory, with versions and holds; it can fail, be killed at any request, and take a put late."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from itertools import count
from typing import Any, BinaryIO

from retention.objects.bucket import (
    Away,
    Bucket,
    BucketPlace,
    Denied,
    Locking,
    NoSuchObject,
    ObjectError,
    ObjectVersion,
)


class Killed(BaseException):
    """The process ends here."""


@dataclass
class _Version:
    content: bytes
    held: bool = False


@dataclass
class Weather:
    """What becomes of each request, by its turn: `done`, `failed`, `lost`, `late` or `killed`."""

    coming: list[str] = field(default_factory=list)

    def next(self) -> str:
        return self.coming.pop(0) if self.coming else "done"


class MemoryBucket(Bucket):
    def __init__(self) -> None:
        super().__init__(BucketPlace("memory", "calls/"))
        self.objects: dict[str, dict[str, _Version]] = {}  # by name and version, the newest last
        self.weather = Weather()
        self.late: list[Callable[[], Any]] = []
        self._versions = count(1)
        self._turn = threading.RLock()

    def arrive(self) -> None:
        """What was on its way comes."""
        late, self.late = self.late, []
        for put in late:
            put()

    def put(self, name: str, body: bytes | BinaryIO, sha256: str, *, held: bool = False) -> str | None:
        content = body if isinstance(body, bytes) else body.read()

        def work() -> str:
            version = f"v{next(self._versions)}"
            self.objects.setdefault(name, {})[version] = _Version(content, held)
            return version

        version: str = self._ask(name, work, late=True)
        return version

    def look(self, name: str, version: str | None = None) -> ObjectVersion | None:
        def work() -> ObjectVersion | None:
            there = self.objects.get(name, {})
            known = version or next(reversed(there), "")
            if known not in there:
                return None
            one = there[known]
            return ObjectVersion(known, len(one.content), sha256(one.content).hexdigest(), one.held)

        seen: ObjectVersion | None = self._ask(name, work)
        return seen

    def read(self, name: str, first: int = 0, last: int | None = None, version: str | None = None) -> Any:
        def work() -> BytesIO:
            there = self.objects.get(name, {})
            known = version or next(reversed(there), "")
            if known not in there:
                raise NoSuchObject(2, "there is no such object", self.url(name))
            return BytesIO(there[known].content[first:last])

        return self._ask(name, work)

    def remove(self, name: str, version: str | None) -> None:
        self._ask(name, lambda: self._remove(name, version or ""))

    def remove_many(self, versions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], ObjectError]:
        def work() -> dict[tuple[str, str], ObjectError]:
            wrong: dict[tuple[str, str], ObjectError] = {}
            for name, version in versions:
                try:
                    self._remove(name, version)
                except ObjectError as fault:
                    wrong[name, version] = fault
            return wrong

        wrong: dict[tuple[str, str], ObjectError] = self._ask(versions[0][0], work)
        return wrong

    def hold(self, name: str, version: str | None, *, on: bool) -> None:
        def work() -> None:
            there = self.objects.get(name, {})
            if version not in there:
                raise NoSuchObject(2, "there is no such object", self.url(name))
            there[version].held = on

        self._ask(name, work)

    def versions(self, beginning: str) -> Iterator[tuple[str, str]] | None:
        """Whoever has these credentials may not list."""
        return None

    def locking(self) -> Locking:
        return Locking(versions=True, locks=True, default=None)

    def _remove(self, name: str, version: str) -> None:
        there = self.objects.get(name, {})
        if version in there:
            if there[version].held:
                raise Denied(13, "is held", self.url(name))
            del there[version]

    def _ask(self, name: str, work: Callable[[], Any], *, late: bool = False, **_: Any) -> Any:  # type: ignore[override]
        with self._turn:
            weather = self.weather.next()
            if weather == "killed":
                raise Killed
            if weather == "late" and late:
                self.late.append(work)
            if weather in ("failed", "late"):
                raise Away(5, "the object store does not answer", self.url(name))
            answer = work()
            if weather == "lost":
                raise Away(5, "the object store does not answer", self.url(name))
            if weather == "killed after":
                raise Killed
            return answer
