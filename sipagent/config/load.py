"""config.toml: read once at the start, completely checked, frozen.

    ConfigError                     the user's to fix, one line
    load(path) -> Config            the file, checked
    parse(text, file) -> Config     its text, checked; paths are relative to where `file` lies

`model` says what each key takes, `types` checks single values, `rules` relations, and `toml` says what is
wrong with a text that is not TOML.
"""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sipagent.config import rules
from sipagent.config.errors import ConfigError, explain, one_line
from sipagent.config.keys import Known
from sipagent.config.model import Config, Login
from sipagent.config.tables.spoken import PromptSet
from sipagent.config.toml import fault
from sipagent.config.types import Holidays, HostPort, PortRange, uri_host, uri_user

__all__ = [
    "Config",
    "ConfigError",
    "Holidays",
    "HostPort",
    "Login",
    "PortRange",
    "PromptSet",
    "load",
    "parse",
    "uri_host",
    "uri_user",
]

WRITTEN = "a file that `sipagent init` wrote"
SIZE_LIMIT = 1 << 20  # bytes; a configuration is not larger


def load(path: Path) -> Config:
    """Read and check a configuration file. Raises ConfigError for the first thing that is wrong."""
    config = parse(read(path), path)
    if (database := config.database).is_dir():
        raise ConfigError(path, "retention.database", f"{one_line(str(database))} is a folder", "a file")
    return config


def read(path: Path) -> str:
    """The text of a file. Raises ConfigError for what cannot be one."""
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError as error:
        raise ConfigError(path, "", "no such file", WRITTEN) from error
    except IsADirectoryError as error:
        raise ConfigError(path, "", "is a folder", WRITTEN) from error
    except PermissionError as error:
        raise ConfigError(path, "", "may not be read by this user", "root, or the service's user") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise ConfigError(path, "", getattr(error, "strerror", None) or "not a path", WRITTEN) from error
    return text_of(content, path)


def text_of(content: bytes, path: Path) -> str:
    """The content of a file as text; errors name `path`. Raises ConfigError."""
    if len(content) > SIZE_LIMIT:
        raise ConfigError(path, "", "larger than 1 MiB", "a TOML file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(path, f"line {line}", "not UTF-8", "a TOML file in UTF-8") from error


def parse(text: str, file: Path) -> Config:
    """Check the text of a configuration; errors name `file`, and paths are relative to it."""
    return checked(tables_of(text, file), file)


def checked(tables: dict[str, Any], file: Path) -> Config:
    """Check a configuration's tables, as tomllib reads them. Raises ConfigError."""
    if not tables:
        raise ConfigError(file, "", "says nothing", WRITTEN)
    known = Known(
        file=file,
        base=file.absolute().parent,
        language=(spoken := str(_peek(tables, "service", "language") or "fr")),
        languages=(spoken, *_others(tables)),
        opt_in=_peek(tables, "refusal", "mode") == "opt_in",
    )
    try:
        config = Config.model_validate(tables, context=known)
    except ValidationError as error:
        raise explain(error, file, Config) from error
    for complaint in rules.complaints(config):
        raise ConfigError(file, *complaint)
    return config


def _peek(tables: dict[str, Any], table: str, key: str) -> object:
    """Look at a key that others' defaults depend on, before anything is checked."""
    found = tables.get(table)
    return found.get(key) if isinstance(found, dict) else None


def _others(tables: dict[str, Any]) -> list[str]:
    """The languages that numbers and keys lead to."""
    found = [_peek(tables, "prompts", key) for key in ("languages", "choices")]
    return [str(language) for table in found if isinstance(table, dict) for language in table.values()]


def tables_of(text: str, file: Path) -> dict[str, Any]:
    """What is written in a text, not checked. Raises ConfigError where it is not TOML."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))  # some editors begin a file with a byte order mark
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(file, *fault(str(error), text)) from error
    except RecursionError as error:
        raise ConfigError(file, "", "nested too deeply", "a TOML file") from error
