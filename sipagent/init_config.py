"""`sipagent init`: a directory to run from, with a config.toml that works as it stands.

The template is the project's own config.toml, so there is one text only: in a checkout it lies beside the
package, an installation has it among its data files (`share/sipagent/config.toml`).
"""

import errno
from collections.abc import Iterator
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path

import sipagent
from sipagent.config import load

LANGUAGES = ("fr", "en")
TEMPLATE = "config.toml"


def init(directory: Path) -> list[Path]:
    """Write config.toml, the prompts and an empty directory for recordings (mode 0700); give their paths.

    Raises FileExistsError, before anything is written, where one of the first two is there already; OSError
    where writing fails.
    """
    config, prompts = directory / TEMPLATE, directory / "prompts"
    for path in (config, prompts):
        if path.exists() or path.is_symlink():
            raise FileExistsError(errno.EEXIST, "is there already; nothing was written", str(path))
    text = template()
    directory.mkdir(parents=True, exist_ok=True)
    for name, source in _sounds():
        copy = prompts / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    config.write_text(text, encoding="utf-8")
    recordings = load(config).recording.directory
    recordings.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [config, prompts, directory / recordings.relative_to(directory.absolute())]


def template() -> str:
    """Give the text of the shipped config.toml. Raises FileNotFoundError where the installation lost it."""
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
