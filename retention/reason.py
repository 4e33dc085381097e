"""Why something is refused or has failed, in a text that is both kept and shown.

What is kept, such as the detail of the trace, is English whoever asked: that is the text itself. What a
person is shown is in their language: `shown`.
"""

from gettext import gettext
from typing import Any


class Reason(str):
    """An English text, made of a message with placeholders and its values, that gettext may have otherwise.

    A value may be a reason, too.
    """

    message: str
    values: dict[str, Any]

    def __new__(cls, message: str, /, **values: Any) -> "Reason":
        """The English text."""
        made = super().__new__(cls, message.format(**values))
        made.message, made.values = message, values
        return made

    def shown(self) -> str:
        """The text in the language that is spoken just now."""
        return gettext(self.message).format(**{name: shown_value(one) for name, one in self.values.items()})


def shown_value(value: Any) -> Any:
    """A reason in the language that is spoken; anything else as it is."""
    return value.shown() if isinstance(value, Reason) else value


def shown(of: Exception | str) -> str:
    """What an error says, or a text, in the language that is spoken; `str()` is what is kept of it."""
    text = of.args[0] if isinstance(of, Exception) and len(of.args) == 1 else of
    return str(shown_value(text))
