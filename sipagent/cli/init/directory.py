"""A directory to run from: a config.toml that says what was answered, the prompts, and the keys."""

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path

from retention.storage.keys import new_pair
from sipagent.cli.init.answers import PAIR, PASSWORD_FILE, Answers
from sipagent.cli.init.place import Place
from sipagent.cli.init.template import TEMPLATE, filled, sounds, template
from sipagent.config.load import parse


def init(place: Place, answers: Answers) -> list[Path]:
    """Write config.toml, the prompts, the keys, the password and a directory for recordings; give their
    paths.

    The private key is for the people who listen, and must leave the machine. Raises FileExistsError, before
    anything is written, if one of them exists already; OSError if writing fails, after which nothing stays.
    """
    recipients = _recipients(place, answers)
    copies = {name: source.read_bytes() for name, source in recipients.items() if source}
    refuse_what_exists(place.folder, [*copies, *([PASSWORD_FILE] if answers.password is not None else [])])
    tables = {name: dict(table) for name, table in answers.tables.items()}
    tables["recording"]["recipients"] = [*recipients]
    text = filled(template(), tables)
    recording = parse(text, place.folder / TEMPLATE).recording
    with ExitStack() as undo:
        writing = _Writing(place, undo)
        writing.folder(place.folder)
        for name, source in sounds():
            writing.file(f"prompts/{name}", source.read_bytes())
        written = [place.folder / "prompts"]
        written += [writing.file(name, content) for name, content in copies.items()]
        if answers.new_key:
            written += writing.pair(answers.passphrase)
        if answers.password is not None:
            written.append(writing.file(PASSWORD_FILE, f"{answers.password}\n".encode(), secret=True))
        where = recording.directory
        writing.kept(where)
        written.append(where if place.state else place.folder / where.relative_to(place.folder.absolute()))
        written.insert(0, writing.file(TEMPLATE, text.encode()))  # last: without it nothing runs
        undo.pop_all()
    return written


def _recipients(place: Place, answers: Answers) -> dict[str, Path | None]:
    """The names of the public keys, below the folder, and which file becomes it: null where it lies there,
    or is made."""
    names: dict[str, Path | None] = {f"{PAIR}.pub": None} if answers.new_key else {}
    for path in answers.recipients:
        if path.resolve().is_relative_to(place.folder.resolve()):
            names[str(path.resolve().relative_to(place.folder.resolve()))] = None
            continue
        name, more = f"keys/{path.name}", 1
        while name in names:
            more += 1
            name = f"keys/{path.stem}-{more}{path.suffix}"
        names[name] = path
    return names


def refuse_what_exists(directory: Path, more: Sequence[str] = ()) -> None:
    """Raise FileExistsError for what `init` always writes, and for these names, if it exists already."""
    for path in (directory / name for name in (TEMPLATE, "prompts", f"{PAIR}.pub", f"{PAIR}.key", *more)):
        if os.path.lexists(path) and not _is_empty_folder(path):
            raise FileExistsError(errno.EEXIST, _("is there already; nothing was written"), str(path))


def _is_empty_folder(path: Path) -> bool:
    """As a package may have made it."""
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def make_pair(stem: Path, passphrase: str | None, comment: str | None = None) -> tuple[Path, Path]:
    """Make a key pair, its public half readable by any user, since the agent may be another user; give both
    paths.

    Raises KeysError if one exists already, OSError.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    return new_pair(stem, passphrase, f"{stem.name}@{socket.gethostname()}" if comment is None else comment)


@dataclass(frozen=True, slots=True)
class _Writing:
    """Writes below a folder, and remembers how to take it back.

    For a service it is root's, and its group's to read; what it keeps is its own.
    """

    place: Place
    undo: ExitStack

    def folder(self, path: Path) -> None:
        """Make a folder, with its parents, if it is missing."""
        if not path.is_dir():
            self.folder(path.parent)
            path.mkdir()
            self.undo.callback(_take_back, path)
        if path.is_relative_to(self.place.folder):
            self._give(path, 0o750)

    def file(self, name: str, content: bytes, *, secret: bool = False) -> Path:
        """Write a new file, secret or not; give its path."""
        path = self.place.folder / name
        self.folder(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o666)
        self.undo.callback(_take_back, path)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        self._give(path, 0o640)
        return path

    def pair(self, passphrase: str | None) -> tuple[Path, Path]:
        """Make the pair; the service may read its public half alone."""
        stem = self.place.folder / PAIR
        self.folder(stem.parent)
        public, private = make_pair(stem, passphrase)
        for path in (public, private):
            self.undo.callback(_take_back, path)
        self._give(public, 0o640)
        return public, private

    def kept(self, directory: Path) -> None:
        """Make the folder of recordings, and where it is an installation that of all that is kept."""
        for path in filter(None, (self.place.state, directory)):
            if not path.is_dir():
                self.folder(path.parent)
                path.mkdir(mode=0o700)
                self.undo.callback(_take_back, path)
                if self.place.service:
                    os.chown(path, self.place.service.uid, self.place.service.gid)

    def _give(self, path: Path, mode: int) -> None:
        if self.place.service:
            os.chown(path, 0, self.place.service.gid)
            path.chmod(mode)


def _take_back(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
