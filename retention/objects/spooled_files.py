"""What is kept as objects, for whoever carries calls: files of the spool alone, and no network.

What lies there goes up, and what must go is removed from the store, by threads of the host: see `pieces` and
`refusals`.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import BufferedIOBase

from retention.objects.client import NoSuchObject
from retention.objects.names import file_of
from retention.objects.object_files import ObjectFiles
from retention.objects.removals import Wrong
from retention.storage.files import Naming
from retention.storage.recording_files import Area, FileKind


class SpooledFiles(ObjectFiles):
    """For who may not wait for a network: it writes to the spool, and removes from there.

    The store follows: a thread of the host sends up what lies in the spool, and removes what rows and marks
    say must go.
    """

    def write(self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext) -> None:
        self.local.write(id, kind, content, naming)

    def replacing(
        self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext
    ) -> AbstractContextManager[Callable[[], None]]:
        return self.local.replacing(id, kind, content, naming)

    def keep(self, id: str, kind: FileKind, naming: Naming = nullcontext) -> int:
        if self.local.exists(id, kind):
            return self.local.keep(id, kind, naming)
        return super().keep(id, kind, naming)

    def hold(self, id: str, *, held: bool) -> None:
        pass

    def remove(self, area: Area, id: str) -> bool:
        return self.local.remove(area, id)

    def remove_all(self, area: Area, ids: Sequence[str], *, anyhow: bool = False) -> Wrong:
        return {}  # the list says so: see `retention.object_rows`

    def remove_rest(self) -> Wrong:
        return {}

    def remove_name(self, name: str) -> bool:
        area, file = file_of(name)
        return self.local.remove_name(self._in_spool(area, file))

    def _open_unknown(self, name: str) -> BufferedIOBase:
        raise NoSuchObject(errno.ENOENT, "there is no such object", self.bucket.url(name))
