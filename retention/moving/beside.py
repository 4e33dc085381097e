"""What lies beside a database, or in it apart from its chain, and goes where its rows go: seed, turn among
the operators, time stamps."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from retention.moving.moving import MoveError
from retention.stamps.kept import Stamps
from retention.storage.files import make_folder, sync_folder, unlink, write_whole
from retention.storage.places import Places


def prepare(places: Places) -> None:
    """Make room for a database that arrives as a file. Raises MoveError for one that is there, OSError."""
    if places.database.exists():
        raise MoveError(f"{places.database}: is there already; accepted: a path where nothing is")
    make_folder(places.folder)
    if not places.arriving.exists():  # what an earlier one has left, whose rows had moved away
        unlink([places.moved, places.head])


def take_along(there: Places, here: Places) -> None:
    """Copy what lies beside, by its bytes; what lies in one folder for both stays. Raises OSError."""
    for source, target in _beside(there, here):
        if source.absolute() != target.absolute():
            make_folder(target.parent)
            write_whole(target, source.read_bytes())


def take_stamps(there: Stamps | None, here: Stamps | None) -> None:
    """Copy the time stamps, as they came. Raises OSError, StoreError."""
    if there is not None and here is not None:
        for seq in there.seqs():
            here.keep(seq, there.content(seq))


def tidy(places: Places) -> None:
    """Remove the copies that were on their way. Raises OSError."""
    if places.moving.folder.exists():
        shutil.rmtree(places.moving.folder)


def put_in_place(places: Places) -> None:
    """Give a database that has arrived its name; from now on it is used. Raises OSError."""
    places.arriving.rename(places.database)
    sync_folder(places.folder)


def _beside(there: Places, here: Places) -> Iterator[tuple[Path, Path]]:
    for mine, its in ((there.seed, here.seed), (there.rota, here.rota)):
        if mine.exists():
            yield mine, its
