"""What the player of a recording's page needs to know: templates/player.html."""

from dataclasses import dataclass

from retention.recording import Recording
from retention.rules.use import ACCESS_REQUEST, purposes_of
from retention.storage.keys import encode
from retention.storage.recording_files import FileKind
from sipagent.languages import spoken
from sipagent.languages.labels import label
from sipagent.web.rights import Right
from sipagent.web.site import Person, Site

_SPEEDS = (0.5, 0.75, 1, 1.25, 1.5, 1.75, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """One recording for one person.

    `purposes`: what this person may listen for, each with its name; `key`: the public key that they listen
    with, in base64, and `key_name` how it is called, both empty without one; `approval`: the number of an
    export that was approved for them.
    """

    id: str
    sealed: bool
    key: str
    key_name: str
    purposes: tuple[tuple[str, str], ...]
    may_export: bool = True
    approval: int | None = None

    @property
    def speeds(self) -> tuple[tuple[float, str], ...]:
        """How fast it can be heard, each with its name."""
        mark = "," if spoken.language() == "fr" else "."
        return tuple((speed, f"{speed}×".replace(".", mark)) for speed in _SPEEDS)


def listening_to(
    recording: Recording, person: Person, site: Site, approval: int | None = None
) -> Listening | None:
    """None for who may not listen, or where there is nothing to hear. Raises OSError."""
    kind = site.archive.files.finished(recording.id)
    accepted = purposes_of(recording, site.config.retention.purposes)
    if not person.may(Right.USE):
        accepted = [ACCESS_REQUEST] if person.may(Right.ACCESS_REQUEST) else []
    if kind is None or not accepted:
        return None
    return Listening(
        id=recording.id,
        sealed=kind is FileKind.SEALED,
        key="" if person.key is None else encode(person.key.raw),
        key_name=str(person.key or ""),
        purposes=tuple((code, label("purpose", code)) for code in accepted),
        approval=approval,
    )
