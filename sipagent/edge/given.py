"""The last message that the edge gave to a worker before that worker died: its shape, not its content.

Pure: a text in, a value out. The text is `name=value`, separated by spaces (`route[GIVEN]` of kamailio.cfg).
"""

from dataclasses import dataclass

METHODS = (
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "INFO",
    "UPDATE",
    "REFER",
    "NOTIFY",
    "PRACK",
    "MESSAGE",
)
STEP = 500  # sizes are counted in steps of so many bytes
MOST_MEDIA = 9  # nine media lines, or more


@dataclass(frozen=True, slots=True)
class GivenMessage:
    """A message that a worker was given.

    `call` identifies a new call at the edge, empty for any other message; `method` is a known one or
    "other"; `status` is 0 for a request; `within`: a request within a dialog; `body` and `size` (of the whole
    message) are in bytes; `media`: media lines; `source`: who sent it, IP:PORT.
    """

    call: str
    method: str
    status: int
    within: bool
    body: int
    media: int
    size: int
    source: str

    @property
    def kind(self) -> str:
        """Such as `INVITE`, `re-INVITE` or `2xx of INVITE`."""
        if self.status:
            return f"{self.status // 100}xx of {self.method}"
        return f"re-{self.method}" if self.within and self.method == "INVITE" else self.method

    @property
    def shape(self) -> tuple[str, str, str]:
        """What is counted: its kind, its media lines (`none` without a body), its size rounded up to 500."""
        media = str(min(self.media, MOST_MEDIA)) if self.body else "none"
        return self.kind, media, str(-(-self.size // STEP) * STEP)

    def __str__(self) -> str:
        media = f"media lines: {self.media}" if self.body else "no body"
        return f"{self.kind}, {media}, {self.size} bytes, from {self.source}"


def given(text: str) -> GivenMessage:
    """Read what the edge keeps of such a message. What it does not know is empty or 0."""
    fields = dict(part.partition("=")[::2] for part in text.split())

    def number(name: str) -> int:
        said = fields.get(name, "")
        return int(said) if said.isdecimal() and said.isascii() else 0

    method = fields.get("method", "")
    return GivenMessage(
        call=fields.get("call", ""),
        method=method if method in METHODS else "other",
        status=number("status"),
        within=fields.get("within") == "1",
        body=number("body"),
        media=number("media"),
        size=number("size"),
        source=fields.get("source", ""),
    )
