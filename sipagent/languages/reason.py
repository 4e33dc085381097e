"""Why something is refused or has failed, in a text that is both kept and shown.

What is kept, such as the detail of the trace, is English whoever asked: that is the text itself. What a
person is shown is in their language: `shown`. What other code says is found by `messages`.
"""

from typing import Any

from sipagent.languages.messages import said
from sipagent.languages.spoken import gettext


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
    """A reason, or an English message, in the language that is spoken; what is no text as it is."""
    if isinstance(value, Reason):
        return value.shown()
    return said(value) if isinstance(value, str) else value


def shown(of: Exception | str) -> str:
    """What an error says, or a text, in the language that is spoken; `str()` is what is kept of it."""
    if isinstance(of, Exception):
        of = of.args[0] if len(of.args) == 1 and isinstance(of.args[0], Reason) else str(of)
    return str(shown_value(of))
