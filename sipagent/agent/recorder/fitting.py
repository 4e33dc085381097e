"""What a reserve has room for."""

from retention.archive.reserve import Record, Reserve, ReserveFull
from retention.recording import Receipt


def write_what_fits(reserve: Reserve, records: list[Record]) -> list[Receipt]:
    """As much as fits: of calls that were not recorded, rather those that came first; returns the others.

    Raises ReserveFull where there is no room for the rest, OSError.
    """
    spare = [one for one in records if isinstance(one, Receipt) and one.recording_id is None]
    needed = [one for one in records if not isinstance(one, Receipt) or one.recording_id is not None]
    fits = len(spare)
    while True:
        try:
            reserve.write([*needed, *spare[:fits]])
        except ReserveFull:
            if not fits:
                raise
            fits //= 2
        else:
            return spare[fits:]


def why_not(fault: OSError | ReserveFull) -> str:
    """Why it took nothing."""
    return "it has no room" if isinstance(fault, ReserveFull) else fault.strerror or str(fault)
