"""How objects are named: by recording and kind, so that nobody has to list them.

vault/ID.key                   its sealed key
recordings/ID.part/00001 …     what was recorded so far, in pieces that follow one another
recordings/ID.sealed           the finished recording, in their place
recordings/ID.json             its metadata
"""

from retention.recording import is_id
from retention.storage.marks import ArchiveError
from retention.storage.recording_files import Area, FileKind

PIECE = FileKind.PART
BEGINNING = {Area.VAULT: "vault/", Area.RECORDINGS: "recordings/"}
# what a recording may have besides its pieces, in the order of removal
WHOLE = (FileKind.KEY, FileKind.SEALED, FileKind.METADATA)


def area_of(kind: FileKind) -> Area:
    """Where it is listed."""
    return Area.VAULT if kind is FileKind.KEY else Area.RECORDINGS


def object_name(id: str, kind: FileKind) -> str:
    """The name of an object. Raises ArchiveError for an id that is not valid."""
    if not is_id(id):
        raise ArchiveError(f"{id!r} is not the id of a recording")
    return any_name(id, kind)


def any_name(id: str, kind: FileKind) -> str:
    """That of whatever is taken for an id, to be shown."""
    return f"{BEGINNING[area_of(kind)]}{id}.{kind}"


def piece_name(id: str, number: int) -> str:
    """The name of a piece, from 1."""
    return f"{object_name(id, PIECE)}/{number:05}"


def shown(area: Area, file: str) -> str:
    """The name that a file of the spool has beside objects."""
    return f"{BEGINNING[area]}{file}"


def file_of(name: str) -> tuple[Area, str]:
    """The inverse. Raises ArchiveError."""
    for area, begin in BEGINNING.items():
        file = name.removeprefix(begin)
        if file != name and file not in ("", ".", "..") and "/" not in file:
            return area, file
    raise ArchiveError(f"{name!r} is not a name among the recordings")


def without_number(name: str) -> str:
    """`recordings/ID.part` for a piece of it; any other name as it is."""
    begin, part, number = name.rpartition(f".{PIECE}/")
    return f"{begin}.{PIECE}" if part and number.isdecimal() else name
