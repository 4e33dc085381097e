"""Texts for people: English wherever one is kept, made of a message and its values until a face shows it.

Every package that says something to people imports this module, but for `media`, whose errors `reason_of`
knows; it imports nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import partial, reduce
from typing import Any


class Reason(str):
    """An English text that knows the message and the values it is made of; a value may be one, too.

    `Reason("{0}: exists", path)` is the text `a.key: exists`. A catalogue has the message. `str()` gives the
    Reason itself, so that the text of an error keeps its values. Of an error as a value its text is kept.
    """

    message: str
    values: tuple[Any, ...]
    named: dict[str, Any]

    def __new__(cls, message: str, /, *values: Any, **named: Any) -> "Reason":
        """The English text. Without values the message is no format: braces stand for themselves, and a
        Reason stays what it is."""
        if isinstance(message, Reason) and not (values or named):
            return message
        values = tuple(reason_of(one) if isinstance(one, Exception) else one for one in values)
        made = super().__new__(cls, message.format(*values, **named) if values or named else message)
        made.message, made.values, made.named = message, values, named
        return made

    def __str__(self) -> str:
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.message, *self.values), self.named


def reason_of(error: BaseException) -> Reason:
    """The text of an error; of the system's own what it says stands apart from the number and the file."""
    text = str(error)
    if isinstance(text, Reason):
        return text
    if getattr(error, "is_message", False):  # of `media`, whose arguments are a message and its values
        return Reason(*error.args)
    if isinstance(error, OSError) and error.errno and text.startswith(start := f"[Errno {error.errno}] "):
        said = strerror(error)
        return Reason("[Errno {0}] {1}{2}", error.errno, said, text.removeprefix(start + said))
    return Reason(text)


def strerror(error: OSError) -> Reason:
    """What the system says of it, without the number and the file."""
    return Reason(error.strerror or str(error))


def joined(reasons: Iterable[str], between: str = "{0}; {1}") -> str:
    """Several texts, one behind the other; there is at least one."""
    return reduce(partial(Reason, between), reasons)


APART = "SIPAGENT_TEXTS_APART"  # in the environment: JSON of commands is for a process that shows its texts


def apart(value: Any) -> Any:
    """JSON with each Reason in it as its message and values; `together` undoes that for an object."""
    match value:
        case Reason():
            named = {name: apart(one) for name, one in value.named.items()}
            return {"message": value.message, "values": [*map(apart, value.values)], "named": named}
        case dict():
            return {name: apart(one) for name, one in value.items()}
        case list() | tuple():
            return [*map(apart, value)]
        case datetime():
            return {"moment": value.isoformat()}
        case None | str() | int() | float():
            return value
    return str(value)


def together(read: dict[str, Any]) -> Any:
    """For json.loads, as its `object_hook`."""
    if read.keys() == {"moment"}:
        return datetime.fromisoformat(read["moment"])
    is_reason = read.keys() == {"message", "values", "named"}
    return Reason(read["message"], *read["values"], **read["named"]) if is_reason else read


class WithReason(Exception):
    """An error whose text is a Reason; each kind of it is one that a person may see."""

    def __init__(self, message: str = "", /, *values: Any) -> None:
        super().__init__(Reason(message, *values))
