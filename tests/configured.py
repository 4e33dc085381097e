"""Configurations for tests: a small one, one with every key, and ways to change them."""

from pathlib import Path

import pytest

from sipagent.cli.init import init, no_answers, place_of
from sipagent.config.load import Config, ConfigError, parse

SMALL = """
[service]
name = "Office"
controller = "Town"
[trunk]
uri = "sip:agent@127.0.0.1"
allowed_sources = ["127.0.0.0/8"]
[operators]
extensions = ["sip:201@127.0.0.1:5070"]
"""
CONTRACT = Path(__file__).with_name("contract.toml").read_text("utf-8")  # every key there is


def read(text: str, where: Path = Path("/etc/sipagent/config.toml")) -> Config:
    return parse(text, where)


def wrong(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        read(text)
    return str(error.value).removeprefix("/etc/sipagent/config.toml: ")


def with_keys(table: str, keys: str, text: str = SMALL) -> str:
    """Put keys into a table of the text, in place of those of the same names there."""
    names = {line.partition("=")[0].strip() for line in keys.splitlines()}
    here, lines = "", []
    for line in text.splitlines():
        here = line.strip("[] ") if line.startswith("[") else here
        if here != table or line.partition("=")[0].strip() not in names:
            lines.append(line)
    if f"[{table}]" not in lines:
        lines.append(f"[{table}]")
    at = lines.index(f"[{table}]") + 1
    return "\n".join([*lines[:at], keys, *lines[at:]])


def init_examples(directory: Path, passphrase: str | None) -> list[Path]:
    """Write the examples as they are shipped, and a key pair, see `init`."""
    place = place_of(directory)
    return init(place, no_answers(place, passphrase))
