"""Any text of ours as one that PostgreSQL takes: all but NUL, which callers' devices and people can send.

U+E000, a character for private use, says that the next one stands for something: `0` for NUL, `1` for U+E000.
All other texts stay as they are, so they are compared and sorted as ever.
"""

from typing import Any

from psycopg.abc import AdaptContext, Buffer
from psycopg.types.string import StrDumper, TextLoader

_ESCAPE = "\ue000"
_NUL, _ITSELF = f"{_ESCAPE}0", f"{_ESCAPE}1"


def put_in(text: str) -> str:
    """As it is kept."""
    if _ESCAPE in text:
        text = text.replace(_ESCAPE, _ITSELF)
    return text.replace("\0", _NUL) if "\0" in text else text


def taken_out(text: str) -> str:
    """The inverse."""
    return text.replace(_NUL, "\0").replace(_ITSELF, _ESCAPE) if _ESCAPE in text else text


class _Dumper(StrDumper):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(put_in(obj))


class _Loader(TextLoader):
    def load(self, data: Buffer) -> str | bytes:
        text = super().load(data)
        return taken_out(text) if isinstance(text, str) else text


def any_text(context: AdaptContext) -> None:
    """Have all texts that go over a connection put in and taken out like this."""
    adapters: Any = context.adapters
    adapters.register_dumper(str, _Dumper)
    adapters.register_loader("text", _Loader)
