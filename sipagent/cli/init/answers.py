"""What nobody can guess, as `init` is told it: by a file, or by the questions.

An answer has the name of its key in config.toml, so the rules of the configuration are the rules of answers.
Three names are of `init` alone: `trunk.password`, `recording.new_key` and `recording.passphrase_file`.
"""

import socket
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from retention.storage.keys import KeysError, read_public
from sipagent.cli.base import Failure
from sipagent.cli.init.place import Place
from sipagent.cli.init.template import BASES, LANGUAGES, Tables, over, template
from sipagent.cli.passphrase import read_passphrase
from sipagent.config import examples
from sipagent.config.errors import ConfigError, accepted_of, shown
from sipagent.config.load import Config, checked, read, tables_of, text_of, uri_host
from sipagent.config.model import PASSWORD_LIMIT
from sipagent.config.types import HostPort, host

SHARE = 0.1  # one call in ten, drawn by lot: the regulator accepts no systematic recording
PASSWORD_FILE = "secrets/trunk-password"
PAIR = "keys/recordings"  # the stem of the pair that `init` makes
STDIN = Path("-")
_WANTED = (
    *("service.name", "service.controller", "service.controller_contact", "service.dpo_contact"),
    "operators.extensions",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """All that `init` needs to know.

    `tables`: of config.toml, checked. `recipients`: files of public keys that exist. `new_key`: whether a
    pair is made, with `passphrase`, None for none.
    """

    tables: Mapping[str, Mapping[str, Any]]
    password: str | None = field(default=None, repr=False)
    recipients: tuple[Path, ...] = ()
    new_key: bool = False
    passphrase: str | None = field(default=None, repr=False)


def no_answers(place: Place, passphrase: str | None) -> Answers:
    """The examples as they are shipped, and a pair."""
    return Answers(tables=settled({}, place), new_key=True, passphrase=passphrase)


@dataclass(slots=True)
class _Told:
    """A file of answers, with what is of `init` alone taken out of its tables."""

    file: Path
    tables: dict[str, Any]
    own: dict[str, Any]

    def wrong(self, key: str, problem: str, accepted: str = "") -> ConfigError:
        return ConfigError(self.file, key, problem, accepted or accepted_of(Config, key.split(".")))


def read_answers(file: Path, place: Place, passphrase: str | None, *, no_passphrase: bool) -> Answers:
    """The answers in a TOML file, `-` for stdin; what is given as an option need not stand in it.

    Raises ConfigError for the first that is wrong, unknown or missing.
    """
    text = text_of(sys.stdin.buffer.read(), file) if file == STDIN else read(file)
    told = _sorted(tables_of(text, file), file)
    password = _text(told, "trunk.password")
    config = checked(over(shipped_tables(), told.tables), file)
    _look_for_missing(told)
    new_key = told.own.get("recording.new_key", False)
    if not isinstance(new_key, bool):
        raise told.wrong("recording.new_key", f"{shown(new_key)} is not true or false", "true | false")
    recipients = config.recording.recipients
    for place_in_list, path in enumerate(recipients):
        if problem := key_problem(path):
            raise told.wrong(f"recording.recipients[{place_in_list}]", problem, "a file that exists")
    if password is not None and (problem := password_problem(password)):
        raise told.wrong("trunk.password", problem, "one line of text")
    tables = settled(told.tables, place)
    refuse_examples(tables, file)
    if new_key and passphrase is None and not no_passphrase:
        passphrase = _passphrase(told)
    return Answers(
        tables=tables, password=password, recipients=recipients, new_key=new_key, passphrase=passphrase
    )


def _sorted(tables: dict[str, Any], file: Path) -> _Told:
    told = _Told(
        file, {name: dict(one) if isinstance(one, dict) else one for name, one in tables.items()}, {}
    )
    for key in ("trunk.password", "recording.new_key", "recording.passphrase_file"):
        table, name = key.split(".")
        if isinstance(told.tables.get(table), dict) and name in told.tables[table]:
            told.own[key] = told.tables[table].pop(name)
    if "trunk.password" in told.own:
        told.tables["trunk"].setdefault("password_file", PASSWORD_FILE)
        if told.tables["trunk"]["password_file"] != PASSWORD_FILE:
            raise told.wrong("trunk.password", "given beside password_file", "one of the two")
    return told


def _text(told: _Told, key: str) -> str | None:
    if not isinstance(value := told.own.get(key), str | None):
        raise told.wrong(key, f"{shown(value)} is not a text in quotes", "a text in quotes")
    return value


def _look_for_missing(told: _Told) -> None:
    for key in _WANTED:
        table, name = key.split(".")
        if name not in told.tables.get(table, {}):
            raise told.wrong(key, "missing")
        if not told.tables[table][name]:
            raise told.wrong(key, "is empty")
    trunk, recording = told.tables.get("trunk", {}), told.tables.get("recording", {})
    if not trunk.get("registrar") and "allowed_sources" not in trunk:
        accepted = 'a list such as ["192.0.2.0/24"], or trunk.registrar with username and password'
        raise told.wrong("trunk.allowed_sources", "missing", accepted)
    if problem := justification_problem(recording):
        raise told.wrong("recording.justification", problem)
    if "recipients" not in recording and not told.own.get("recording.new_key"):
        accepted = "a list of public keys that exist, or recording.new_key = true"
        raise told.wrong("recording.recipients", "missing", accepted)


def _passphrase(told: _Told) -> str:
    key, accepted = "recording.passphrase_file", "a file that holds it in one line, or --no-passphrase"
    named = _text(told, key)
    if not named:
        raise told.wrong(key, "missing", accepted)
    try:
        return read_passphrase(told.file.absolute().parent / named)
    except Failure as failure:
        raise told.wrong(key, str(failure), accepted) from failure
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise told.wrong(key, f"{named}: {getattr(error, 'strerror', None) or 'not a path'}") from error


def key_problem(path: Path) -> str:
    """What is wrong with the file of a public key; empty if nothing is."""
    try:
        read_public(path)
    except KeysError as problem:
        return str(problem)
    return ""


def password_problem(password: str) -> str:
    """What is wrong with a password; empty if nothing is. It is not shown."""
    if not password or not password.isprintable():
        return "is no line of text"
    return "" if len(password.encode()) <= PASSWORD_LIMIT else f"is longer than {PASSWORD_LIMIT} bytes"


def justification_problem(recording: Tables) -> str:
    """What is wrong where all calls are recorded and nothing says why."""
    if recording.get("share", SHARE) >= 1 and not recording.get("justification", "").strip():
        return "missing, where recording.share is 1"
    return ""


def shipped_tables() -> Tables:
    """Of the shipped config.toml. Raises FileNotFoundError."""
    return tomllib.loads(template())


def settled(told: Tables, place: Place) -> dict[str, dict[str, Any]]:
    """The tables of a new configuration: what was told, and what follows from it or is suggested.

    What was told is checked before, or stops at the first that is not asked for yet.
    """
    values = {name: dict(table) for name, table in told.items()}
    service = values.setdefault("service", {})
    language = service.setdefault("language", "fr")
    service.setdefault("legal_basis", BASES.get(language, ""))
    values.setdefault("recording", {}).setdefault("share", SHARE)
    if place.state:
        values["recording"].setdefault("directory", str(place.state / "recordings"))
        values.setdefault("retention", {}).setdefault("database", str(place.state / "retention.db"))
    if language != "fr" and language in LANGUAGES:
        spoken = {key: text for key, text in shipped_tables()["prompts"].items() if "/fr/" in text}
        ours = {key: text.replace("/fr/", f"/{language}/") for key, text in spoken.items()}
        values["prompts"] = ours | values.get("prompts", {})
    if trunk := values.get("trunk"):
        _settle_trunk(trunk)
    if phones := values.get("operators", {}).get("extensions"):  # each may talk to a caller
        values.setdefault("capacity", {}).setdefault("calls", len(phones))
    return values


def _settle_trunk(trunk: dict[str, Any]) -> None:
    registrar = trunk.get("registrar")
    if trunk.get("username") and not trunk.get("password_env"):
        trunk.setdefault("password_file", PASSWORD_FILE)
    if registrar:
        trunk.setdefault("allowed_sources", [])
    trunk.setdefault("listen", suggested_listen(trunk))
    trunk.setdefault("uri", suggested_uri(trunk))


def suggested_listen(trunk: Tables) -> str:
    """Where to listen: on this machine's address, or on loopback where the trunk is."""
    sources = trunk.get("allowed_sources", [])
    local = _is_loopback(uri_host(trunk["registrar"])[0]) if trunk.get("registrar") else None
    if local is None:
        local = bool(sources) and all(str(source).startswith(("127.", "::1")) for source in sources)
    return str(HostPort("127.0.0.1" if local else _own_address(), 5060))


def suggested_uri(trunk: Tables) -> str:
    """Who we are: the user of the registrar, or the agent at its own address."""
    user = trunk.get("username") or "agent"
    if trunk.get("registrar"):
        name = uri_host(trunk["registrar"])[0]
        return f"sip:{quote(user)}@{f'[{name}]' if ':' in name else name}"
    return f"sip:{user}@{str(trunk['listen']).rpartition(':')[0]}"


def _is_loopback(name: str) -> bool:
    return name == "localhost" or name.startswith("127.") or name == "::1"


def _own_address() -> str:
    """The address that this machine sends from; loopback without a network. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: nobody's
        except OSError:
            return "127.0.0.1"
        return host(probe.getsockname()[0])


def refuse_examples(tables: Tables, file: Path) -> None:
    """Raise ConfigError for what is wrong with a configuration of these tables, be it only an example."""
    config = checked(over(shipped_tables(), tables), file)
    if (spoken := config.service.language) not in LANGUAGES and "prompts" not in tables:
        problem = f"'{spoken}' has no shipped prompts"
        raise ConfigError(file, "service.language", problem, " | ".join(LANGUAGES) + ", or [prompts]")
    if not config.trunk.listen.is_loopback:
        examples.refuse(config.service, file)
