"""`sipagent init`: a directory to run from, with a config.toml that works unchanged, and a key pair.

The template is the project's own config.toml, so there is one text only: in a checkout it lies beside the
package, an installation has it among its data files (`share/sipagent/config.toml`).
"""

import errno
import re
import socket
from collections.abc import Iterator
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path

import sipagent
from retention.storage.keys import new_pair
from sipagent.config.load import load

LANGUAGES = ("fr", "en")
TEMPLATE = "config.toml"
KEYS = Path("keys/recordings")  # the stem of the pair
_NOBODY = "recipients = []"  # a checkout has no keys
_ALL, _SOME = (
    "share = 1.0",
    "share = 0.1",
)  # a checkout is for trials; the regulator accepts no systematic recording


def init(directory: Path, passphrase: str | None) -> list[Path]:
    """Write config.toml, the prompts, a key pair and an empty directory for recordings; give their paths.

    `passphrase` is for the private key, which is for the people who listen, and must leave the machine.
    Raises FileExistsError, before anything is written, if one of the first three exists already; OSError if
    writing fails.
    """
    refuse_what_exists(directory)
    text = with_a_share(sealed_to_pair(template()))
    for name, source in _sounds():
        copy = directory / "prompts" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    public, private = make_pair(directory / KEYS, passphrase)
    config = directory / TEMPLATE
    config.write_text(text, encoding="utf-8")
    recordings = load(config).recording.directory
    recordings.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [
        config,
        directory / "prompts",
        public,
        private,
        directory / recordings.relative_to(directory.absolute()),
    ]


def refuse_what_exists(directory: Path) -> None:
    """Raise FileExistsError for what `init` would write and already exists."""
    for name in (TEMPLATE, "prompts", f"{KEYS}.pub", f"{KEYS}.key"):
        path = directory / name
        if path.exists() or path.is_symlink():
            raise FileExistsError(errno.EEXIST, "is there already; nothing was written", str(path))


def make_pair(stem: Path, passphrase: str | None, comment: str | None = None) -> tuple[Path, Path]:
    """Make a key pair, its public half readable by any user, since the agent may be another user; give both
    paths.

    Raises KeysError if one exists already, OSError.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    return new_pair(stem, passphrase, f"{stem.name}@{socket.gethostname()}" if comment is None else comment)


def sealed_to_pair(text: str) -> str:
    """The template with the pair of `init` as its recipients; its comments stay."""
    ours = f'recipients = ["{KEYS}.pub"]'
    return re.sub(
        rf"^{re.escape(_NOBODY)}( *)",
        lambda found: ours.ljust(len(found[0])) + " " * (len(ours) >= len(found[0])),
        text,
        flags=re.MULTILINE,
    )


def with_a_share(text: str) -> str:
    """The template with one call in ten, drawn by lot, instead of all (CNIL, deliberation 2014-474)."""
    return re.sub(rf"^{re.escape(_ALL)}(?= )", _SOME, text, flags=re.MULTILINE)


def template() -> str:
    """Give the text of the shipped config.toml. Raises FileNotFoundError if it is missing in the
    installation."""
    for path in _templates():
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError(
        errno.ENOENT, "is missing from the installation; install sipagent again", TEMPLATE
    )


def _templates() -> Iterator[Path]:
    checkout = Path(sipagent.__file__).parent.parent
    if (checkout / "pyproject.toml").is_file():
        yield checkout / TEMPLATE
    try:
        installed = metadata.files("sipagent") or []
    except metadata.PackageNotFoundError:
        return
    yield from (Path(str(file.locate())) for file in installed if file.name == TEMPLATE)


def _sounds() -> Iterator[tuple[str, Traversable]]:
    """Yield the prompts with their words, by their path below `prompts`: those of the bridge's 8 kHz."""
    root = resources.files("prompts")
    for folder, prefix in ((root, ""), *((root / language, f"{language}/") for language in LANGUAGES)):
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith((".wav", ".txt")) and not file.name.endswith(".16k.wav"):
                yield prefix + file.name, file
