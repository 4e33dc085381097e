"""POSIX extended regular expressions as Kamailio uses them: those of the C library (regex(3))."""

import ctypes
import weakref

EXTENDED, IGNORE_CASE, NO_SUBMATCHES = 1, 2, 8  # of glibc's regex.h
_c = ctypes.CDLL(None)


class Pattern:
    """A pattern, compiled; raises ValueError where the library takes it for none."""

    def __init__(self, pattern: str) -> None:
        self._compiled = ctypes.create_string_buffer(256)  # a regex_t is 64 bytes
        flags = EXTENDED | IGNORE_CASE | NO_SUBMATCHES
        if _c.regcomp(self._compiled, pattern.encode(), flags):
            raise ValueError(f"no pattern: {pattern!r}")
        weakref.finalize(self, _c.regfree, self._compiled)  # a counted one has megabytes

    def matches(self, text: str) -> bool:
        return not _c.regexec(self._compiled, text.encode(), 0, None, 0)
