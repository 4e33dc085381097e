"""The entry for the register of processing activities: made of the live configuration, written, compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retention.records import Record, RuleError
from retention.vault import read_public
from sipagent.config.load import Config
from sipagent.text.notice import spoken_notices
from sipagent.text.register import RegisterEntry, entry
from sipagent.text.register_file import Difference, RegisterError, Written, differences, read, renewed

SIZE_LIMIT = 16 << 20  # bytes of a file to compare; even a register with many entries is shorter


class RegisterRefused(RuleError):
    """The file is not written, or cannot be compared."""


@dataclass(frozen=True, kw_only=True)
class Comparison(Record):
    """Where a file differs from the entry of now. `format`: md or json, whose `language` is null."""

    file: str
    format: str
    language: str | None
    current: bool
    differences: Sequence[Difference]
    to_complete: tuple[str, ...]


def present_entry(config: Config) -> RegisterEntry:
    """With the keys and notices that the configuration names. Raises KeysError, PromptError, OSError."""
    return entry(config, [read_public(path) for path in config.recording.recipients], spoken_notices(config))


def compare(made: RegisterEntry, path: Path) -> Comparison:
    """Raises RegisterRefused, OSError."""
    try:
        written = _read(path)
    except RegisterError as wrong:
        raise RegisterRefused("{0}: {1}", path, wrong) from wrong
    found = differences(written, made)
    return Comparison(
        file=str(path),
        format="json" if written.language is None else "md",
        language=written.language,
        current=not found,
        differences=found,
        to_complete=made.to_complete,
    )


@dataclass(frozen=True, kw_only=True)
class FileWanted:
    """A file that the entry is written into.

    `format`: md or json, else that of the file or by its name. `language` of Markdown, else that of the file,
    or `default`. `force`: replace the file, whatever it holds.
    """

    path: Path
    format: str | None
    language: str | None
    default: str
    force: bool


def write(made: RegisterEntry, wanted: FileWanted) -> None:
    """Write the entry into a new file, or replace the file's entry. Raises RegisterRefused, OSError."""
    path, there = wanted.path, None
    if not wanted.force and path.exists():
        try:
            there = _read(path)
        except RegisterError as wrong:
            raise RegisterRefused("{0}: exists, and {1}; --force replaces it", path, wrong) from wrong
    as_json = there.language is None if there else path.suffix.lower() == ".json"
    format = wanted.format or ("json" if as_json and wanted.language is None else "md")
    if there is not None and (there.language is None) != (format == "json"):
        raise RegisterRefused("{0}: is of the other format; --force replaces it", path)
    language = wanted.language or (there and there.language) or wanted.default
    write_text_whole(path, renewed(there, made, None if format == "json" else language))


def write_text_whole(path: Path, text: str) -> None:
    """Write a file that others may read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> Written:
    """Raises RegisterError, OSError."""
    with path.open("rb") as file:
        content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise RegisterError("is too long for a register")
    try:
        return read(content.decode())
    except UnicodeDecodeError as error:
        raise RegisterError("is not UTF-8 text") from error
