"""`init`: write a configuration, by questions, by a file of answers, or with the examples.

At a terminal all is asked on one screen. Each answer is checked at once by the rules of the configuration,
with all that was answered before. At last all answers are shown, and each can be changed; then it is written.

**The place.** In /etc/sipagent it is an installation: the service's user reads the configuration, and
what is recorded lies in /var/lib/sipagent. Anywhere else everything lies together, and is of whoever
calls `init`.

**The template** is the shipped config.toml; values get into it without losing its comments. There is one
text only: in a checkout it lies beside the package, an installation has it among its data files
(`share/sipagent/config.toml`). Its comments are translated, as all that a person reads.

**Answers** are what nobody can guess. An answer has the name of its key in config.toml, so the rules of the
configuration are the rules of answers. Three names are of `init` alone: `trunk.password`,
`recording.new_key` and `recording.passphrase_file`.
"""

import errno
import grp
import os
import pwd
import re
import socket
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from gettext import gettext as _
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import tomlkit
from tomlkit.items import Item, Table

import sipagent
from retention.texts import Reason, strerror
from retention.vault import KeysError, new_pair, read_public
from sipagent.cli import options
from sipagent.cli.program import FILE, FOLDER, SERVICE, SYSTEM_CONFIG, Failure
from sipagent.config import rules
from sipagent.config.errors import ConfigError, accepted_of
from sipagent.config.errors import shown as as_toml
from sipagent.config.identity import to_e164
from sipagent.config.load import Config, checked, parse, read, tables_of, text_of, uri_host
from sipagent.config.model import PASSWORD_LIMIT
from sipagent.config.types import HostPort, host
from sipagent.edge.plan import SOMEWHERE
from sipagent.languages.labels import N_
from sipagent.languages.spoken import colon, shown

STATE = Path("/var/lib/sipagent")


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """A user and the group of that name."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`state`: the folder of what is recorded, None for that of the configuration. `service`: who runs the
    agent, None where that is not another user than ours."""

    folder: Path
    state: Path | None = None
    service: ServiceUser | None = None


def place_of(directory: Path) -> Place:
    """The place that a directory is."""
    if directory.absolute() != SYSTEM_CONFIG.parent and directory.resolve() != SYSTEM_CONFIG.parent:
        return Place(folder=directory)
    return Place(folder=directory, state=STATE, service=_service() if os.geteuid() == 0 else None)


def _service() -> ServiceUser | None:
    try:
        return ServiceUser(pwd.getpwnam(SERVICE).pw_uid, grp.getgrnam(SERVICE).gr_gid)
    except KeyError:
        return None


Tables = Mapping[str, Any]
"""Of config.toml: by table and key, as tomllib reads them; what is no table is wrong, and said to be so."""

LANGUAGES = ("fr", "en")  # of the shipped prompts
BASES = {  # of a public service: what service.legal_basis says unless told otherwise
    "fr": "mission d'intérêt public, article 6(1)(e) du RGPD",
    "en": "task in the public interest, article 6(1)(e) GDPR",
}
TEMPLATE = "config.toml"
COMMENT = re.compile(r"^((?:# )?(?:\[|[a-z_0-9]+ = ).*? +# |# (?!\[|[a-z_0-9]+ = ))(.+)$", re.MULTILINE)
_COLUMN = 46  # of a line's comment, where the value leaves room
_HEADING = re.compile(r"(?:# )?\[\[?([a-z_.]+)\]")
_COMMENTED = re.compile(r"# ([a-z_0-9]+) = ")


def template() -> str:
    """Give the text of the shipped config.toml, its comments in the language that is spoken. Raises
    FileNotFoundError if it is missing in the installation."""
    for path in _templates():
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            return COMMENT.sub(lambda found: found[1] + _(found[2]), text)
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


def sounds() -> Iterator[tuple[str, Traversable]]:
    """Yield the prompts with their words, by their path below `prompts`: those of the bridge's 8 kHz."""
    root = resources.files("prompts")
    for folder, prefix in ((root, ""), *((root / language, f"{language}/") for language in LANGUAGES)):
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith((".wav", ".txt")) and not file.name.endswith(".16k.wav"):
                yield prefix + file.name, file


def over(shipped: Tables, values: Tables) -> dict[str, Any]:
    """The shipped tables with these values in place of theirs."""
    merged = dict(shipped)
    for name, table in values.items():
        known = merged.get(name)
        merged[name] = {**known, **table} if isinstance(known, dict) and isinstance(table, dict) else table
    return merged


def filled(text: str, values: Tables) -> str:
    """The text with these values in place of its own, and every comment where it was.

    A key that is commented out comes into force. `values` has tables alone.
    """
    document = tomlkit.parse(_in_force(text, values))
    for name, keys in values.items():
        if name not in document:
            document[name] = tomlkit.table()
        table = document[name]
        assert isinstance(table, Table)
        for key, value in keys.items():
            _put(table, key, _item(value))
    result = tomlkit.dumps(document)
    assert tomllib.loads(result) == over(tomllib.loads(text), values), "another value than was meant"
    return result


def _in_force(text: str, values: Tables) -> str:
    """The text, where the lines of these keys, and the headings of their tables, are no comments."""
    lines, table = [], ""
    for line in text.splitlines(keepends=True):
        if found := _HEADING.match(line):
            table = found[1]
            wanted = table in values
        else:
            key = _COMMENTED.match(line)
            wanted = key is not None and key[1] in values.get(table, {})
        lines.append(line.removeprefix("# ") if wanted else line)
    return "".join(lines)


def _put(table: Table, key: str, value: Item) -> None:
    before = table.get(key)
    if isinstance(before, Item) and before.trivia.comment:
        room = _COLUMN - len(f"{key} = {value.as_string()}")
        value.trivia.comment, value.trivia.comment_ws = before.trivia.comment, " " * max(3, room)
    table[key] = value


def _item(value: object) -> Item:
    """As one line: a table in braces may stand between keys, one with a heading may not."""
    if isinstance(value, dict):
        inline = tomlkit.inline_table()
        inline.update({key: _item(one) for key, one in value.items()})
        return inline
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend(_item(one) for one in value)
        return array
    return tomlkit.item(value)


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
class _AnswersFile:
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
        raise told.wrong("recording.new_key", Reason("{0!r} is not true or false", new_key), "true | false")
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


def _sorted(tables: dict[str, Any], file: Path) -> _AnswersFile:
    told = _AnswersFile(
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


def _text(told: _AnswersFile, key: str) -> str | None:
    if not isinstance(value := told.own.get(key), str | None):
        raise told.wrong(key, Reason("{0} is not a text in quotes", as_toml(value)), "a text in quotes")
    return value


def _look_for_missing(told: _AnswersFile) -> None:
    for key in _WANTED:
        table, name = key.split(".")
        if name not in told.tables.get(table, {}):
            raise told.wrong(key, "missing")
        if not told.tables[table][name]:
            raise told.wrong(key, "is empty")
    trunk, recording = told.tables.get("trunk", {}), told.tables.get("recording", {})
    if not trunk.get("registrar") and "allowed_sources" not in trunk:
        accepted = Reason('a list such as ["192.0.2.0/24"], or trunk.registrar with username and password')
        raise told.wrong("trunk.allowed_sources", "missing", accepted)
    if problem := justification_problem(recording):
        raise told.wrong("recording.justification", problem)
    if "recipients" not in recording and not told.own.get("recording.new_key"):
        accepted = Reason("a list of public keys that exist, or recording.new_key = true")
        raise told.wrong("recording.recipients", "missing", accepted)


def _passphrase(told: _AnswersFile) -> str:
    key, accepted = (
        "recording.passphrase_file",
        Reason("a file that holds it in one line, or --no-passphrase"),
    )
    named = _text(told, key)
    if not named:
        raise told.wrong(key, "missing", accepted)
    try:
        return options.read_passphrase(told.file.absolute().parent / named)
    except Failure as failure:
        raise told.wrong(key, str(failure), accepted) from failure
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise told.wrong(
            key,
            Reason(
                "{0}: {1}", named, strerror(error) if isinstance(error, OSError) else Reason("not a path")
            ),
        ) from error


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
        return Reason("is no line of text")
    return (
        "" if len(password.encode()) <= PASSWORD_LIMIT else Reason("is longer than {0} bytes", PASSWORD_LIMIT)
    )


def justification_problem(recording: Tables) -> str:
    """What is wrong where all calls are recorded and nothing says why."""
    if recording.get("share", SHARE) >= 1 and not recording.get("justification", "").strip():
        return Reason("missing, where recording.share is 1")
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
    if _versions(trunk) == {4, 6} and not str(trunk["listen"]).startswith(("127.", "[")):
        trunk.setdefault("listen_ipv6", str(HostPort(_own_address(6), 5060)))
    trunk.setdefault("uri", suggested_uri(trunk))


def suggested_listen(trunk: Tables) -> str:
    """Where to listen: on this machine's address, or on loopback where the trunk is."""
    sources = trunk.get("allowed_sources", [])
    local = _is_loopback(uri_host(trunk["registrar"])[0]) if trunk.get("registrar") else None
    if local is None:
        local = bool(sources) and all(str(source).startswith(("127.", "::1")) for source in sources)
    version = 6 if _versions(trunk) == {6} else 4
    return str(HostPort("127.0.0.1" if local else _own_address(version), 5060))


def _versions(trunk: Tables) -> set[int]:
    """Of IP, by which the trunk calls; none of a name."""
    named = [uri_host(trunk["registrar"])[0]] if trunk.get("registrar") else []
    found = (str(one).partition("/")[0] for one in [*trunk.get("allowed_sources", []), *named])
    return {6 if ":" in one else 4 for one in found if ":" in one or one.replace(".", "").isdecimal()}


def suggested_uri(trunk: Tables) -> str:
    """Who we are: the user of the registrar, or the agent at its own address."""
    user = trunk.get("username") or "agent"
    if trunk.get("registrar"):
        name = uri_host(trunk["registrar"])[0]
        return f"sip:{quote(user)}@{f'[{name}]' if ':' in name else name}"
    return f"sip:{user}@{str(trunk['listen']).rpartition(':')[0]}"


def _is_loopback(name: str) -> bool:
    return name == "localhost" or name.startswith("127.") or name == "::1"


def _own_address(version: int) -> str:
    """The address that this machine sends from; loopback without a network. Nothing is sent."""
    with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((SOMEWHERE[version], 9))
        except OSError:
            return "::1" if version == 6 else "127.0.0.1"
        return host(probe.getsockname()[0])


def refuse_examples(tables: Tables, file: Path) -> None:
    """Raise ConfigError for what is wrong with a configuration of these tables, be it only an example."""
    config = checked(over(shipped_tables(), tables), file)
    if (spoken := config.service.language) not in LANGUAGES and "prompts" not in tables:
        problem = Reason("'{0}' has no shipped prompts", spoken)
        raise ConfigError(
            file, "service.language", problem, Reason("{0}, or [prompts]", " | ".join(LANGUAGES))
        )
    if not config.trunk.listen.is_loopback:
        rules.refuse_examples(config.service, file)


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
        writing = _FolderWriter(place, undo)
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
class _FolderWriter:
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


SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)


@click.command("init")
@click.argument("directory", default=".", type=FOLDER, metavar="[DIR]")
@click.option(
    "--answers",
    type=FILE,
    metavar="FILE",
    help="Ask nothing: a TOML file with the keys of config.toml, - for stdin.",
)
@options.new_passphrase_options
def init_command(
    directory: Path, answers: Path | None, passphrase_file: Path | None, no_passphrase: bool
) -> None:
    """Write a commented config.toml, make a key pair and copy the prompts into DIR (default: here).

    At a terminal you are asked what nobody can guess. A file of answers has it under the names of
    config.toml; beside them trunk.password, recording.new_key and recording.passphrase_file. Without both the
    examples are written. Replaces nothing.

    Recordings will be sealed to public keys; the private key is for the people who listen.

    \b
    Examples:
      sipagent init /etc/sipagent
      sipagent init --answers answers.toml /etc/sipagent
    """
    place, private = place_of(directory), directory / f"{PAIR}.key"
    refuse_what_exists(directory)
    passphrase = options.given_passphrase(passphrase_file, no_passphrase)
    if answers is not None:
        told = read_answers(answers, place, passphrase, no_passphrase=no_passphrase)
    elif sys.stdin.isatty():
        told = ask(place, passphrase, no_passphrase=no_passphrase)
    else:
        told = no_answers(place, passphrase)
        if not (passphrase or no_passphrase):
            said = _("no terminal to ask for a passphrase at, so {path} has none: whoever gets it can listen")
            click.echo(f"sipagent: {said.format(path=private)}", err=True)
    for path in init(place, told):
        click.echo(_("wrote {path}").format(path=path))
    _say_what_is_left(place, told, private)


def _say_what_is_left(place: Place, told: Answers, private: Path) -> None:
    """What to do next; the most important thing last."""
    config = place.folder / TEMPLATE
    share = told.tables["recording"]["share"]
    if share < 1:
        said = _(
            "recording.share is {share}: so many of the calls are drawn to be recorded, the others hear "
            "`welcome` and no notice. To try it, set 1.0 for as long as you do."
        )
        click.echo(said.format(share=f"{share:g}"))
    click.echo(_("A refusal that is spoken is heard, too; the shipped notice promises the key alone."))
    click.echo(next_steps(place, config))
    if told.new_key:
        click.secho(options.key_advice(private), bold=True)
    if not told.tables["service"].keys() & rules.SHIPPED_EXAMPLES.keys():
        keys = ", ".join(f"service.{key}" for key in rules.SHIPPED_EXAMPLES)
        said = _("{path}: {keys} are examples: replace them before a network can call.")
        click.secho(said.format(path=config, keys=keys), bold=True)


def next_steps(place: Place, config: Path) -> str:
    """The commands that come next; in an installation as the user of the service."""
    first, second = f"sipagent --config {config} check", f"sipagent --config {config} run"
    if place.state:
        ours = f"runuser -u {SERVICE} -- " if place.service else ""
        first, second = f"{ours}sipagent check", f"{ours}sipagent run"
        if SYSTEMD.is_dir():
            second = f"systemctl enable --now {SERVICE}"
    return _("Next: {first}, then {second}").format(first=first, second=second)


_Tables = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """`key`: of config.toml, or of `init` alone. `words` say what an answer looks like. `default`: what Enter
    gives, of all that was answered before; None where something must be typed. `read`: a typed text as a
    value. `follows`: the answer that this one depends on, and is asked for again after. `wrong`: what is
    wrong with the text, where the rules of the configuration do not say."""

    key: str
    words: str
    default: Callable[[_Tables], str] | None = None
    read: Callable[[str], Any] = str.strip
    wanted: Callable[[_Tables], bool] = lambda answered: True
    before: str = ""  # a line above it
    follows: str = ""
    wrong: Callable[[str], str] | None = None
    hidden: bool = False

    @property
    def name(self) -> str:
        """What is asked for, without how it may look."""
        return re.split(r"[,;(:]", _(self.words))[0].strip()

    def told(self, typed: str) -> str:
        """An answer in the summary; of none what is said of Enter."""
        return "••••" if self.hidden else typed.strip() or _(self.words).rpartition(colon())[2]


def _listed(typed: str) -> list[str]:
    return [one for one in re.split(r",\s*|\s+", typed.strip()) if one]


def _phones(typed: str) -> list[str]:
    """`202` behind `sip:201@192.168.1.2` is `sip:202@192.168.1.2`."""
    found = [""]
    for one in _listed(typed):
        before = re.fullmatch(r"(sips?:)[^@]+(@.+)", found[-1])
        is_short = before and re.fullmatch(r"[\w.+-]+", one, re.ASCII)
        found.append(f"{before[1]}{one}{before[2]}" if before and is_short else one)
    return found[1:]


def _numbers(typed: str) -> list[str]:
    """As people write them: with spaces, and without the country."""
    listed = [one.strip() for one in typed.split(",") if one.strip()]
    return [to_e164(one, "FR") or one for one in listed]


def _paths(typed: str) -> tuple[Path, ...]:
    return tuple(Path(one).expanduser() for one in typed.split())


def _number(typed: str) -> float | str:
    try:
        value = float(typed.strip().replace(",", "."))
    except ValueError:
        return typed  # which the rules refuse
    return int(value) if value.is_integer() else value


def _registers(answered: _Tables) -> bool:
    return bool(answered["trunk"]["registrar"])


def _suggested(table: str, key: str) -> Callable[[_Tables], str]:
    """What would be written without an answer."""
    return lambda answered: str(settled(answered, Place(folder=Path()))[table][key])


REGISTRAR = "trunk.registrar"
QUESTIONS = (
    Question("service.language", N_("Language of the prompts, fr or en"), lambda answered: "fr"),
    Question("service.name", N_("Name of the service, as callers hear it, such as Allô Mairie")),
    Question(
        "service.controller", N_("Who is responsible for recordings (GDPR), such as Commune de Saint-Quentin")
    ),
    Question("service.controller_contact", N_("How to reach them: an address, a telephone number")),
    Question("service.dpo_contact", N_("How to reach the data protection officer")),
    Question("service.legal_basis", N_("Legal basis"), _suggested("service", "legal_basis")),
    Question(
        REGISTRAR,
        N_("Registrar of the trunk, such as sip:trunk.example.net; Enter: a trunk without registration"),
        lambda answered: "",
    ),
    Question("trunk.username", N_("User name there"), wanted=_registers, follows=REGISTRAR),
    Question(
        "trunk.password",
        N_("Password there"),
        wanted=_registers,
        follows=REGISTRAR,
        wrong=password_problem,
        hidden=True,
    ),
    Question(
        "trunk.allowed_sources",
        N_("Addresses that the trunk calls from, such as 192.0.2.10 or 192.0.2.0/24"),
        read=_listed,
        wanted=lambda answered: not _registers(answered),
        follows=REGISTRAR,
    ),
    Question(
        "trunk.listen",
        N_("Our address and port for SIP"),
        _suggested("trunk", "listen"),
        follows=REGISTRAR,
    ),
    Question("trunk.uri", N_("Who we are on the trunk"), _suggested("trunk", "uri"), follows=REGISTRAR),
    Question(
        "trunk.numbers",
        N_("Numbers of the service, such as 03 23 06 30 06, +33323063007; Enter: any"),
        lambda answered: "",
        read=_numbers,
    ),
    Question(
        "operators.extensions",
        N_("Operators' phones, in the order of ringing, such as sip:201@192.168.1.2, 202, 203"),
        read=_phones,
    ),
    Question(
        "capacity.calls",
        N_("Calls at the same time, with those that wait for an operator"),
        _suggested("capacity", "calls"),
        read=_number,
    ),
    Question(
        "recording.share",
        N_("Share of the calls to be recorded, drawn by lot, 0 to 1"),
        lambda answered: f"{SHARE}",
        read=_number,
        before=N_("The regulator accepts no systematic recording (CNIL, 2014-474); 1 needs a justification."),
    ),
    Question(
        "recording.justification",
        N_("Why all calls have to be recorded"),
        wanted=lambda answered: answered["recording"]["share"] >= 1,
    ),
    Question(
        "recording.recipients",
        N_("Public keys of who may listen, such as /media/usb/durand.pub; Enter: make a pair now"),
        lambda answered: "",
        wrong=lambda typed: next(filter(None, map(key_problem, _paths(typed))), ""),
    ),
)


def ask(place: Place, passphrase: str | None, *, no_passphrase: bool) -> Answers:
    """Ask everything, then show it all, and ask again what is wanted otherwise. Raises click.Abort for
    Ctrl-C."""
    click.echo(
        _("Enter takes what stands in [brackets]; Ctrl-C ends this, and nothing is written."), err=True
    )
    answered: _Tables = {name: {} for name in ("service", "trunk", "operators", "capacity", "recording")}
    typed: dict[str, str] = {}
    again: Question | None = None
    while True:
        for question in QUESTIONS:
            if not question.wanted(answered):
                _forget(question.key, answered, typed)
            elif question is again or question.key not in typed:
                typed[question.key] = _ask(question, answered, typed.get(question.key))
                if question.key == REGISTRAR and _registers(answered):
                    answered["trunk"]["password_file"] = PASSWORD_FILE
        recipients = _paths(typed["recording.recipients"])
        if not recipients and passphrase is None and not no_passphrase:
            passphrase = options.ask_for_new_passphrase(place.folder / f"{PAIR}.key")
        if (again := _otherwise(typed)) is None:
            break
        for question in QUESTIONS:
            if question.follows == again.key:
                _forget(question.key, answered, typed)
        if again.key == REGISTRAR:
            answered["trunk"].pop("password_file", None)
    if not answered["trunk"]["registrar"]:
        del answered["trunk"]["registrar"]
    return Answers(
        tables=settled(answered, place),
        password=typed.get("trunk.password"),
        recipients=recipients,
        new_key=not recipients,
        passphrase=None if recipients else passphrase,
    )


def _otherwise(typed: Mapping[str, str]) -> Question | None:
    """Show all that was answered; the question to ask once more, None to go on."""
    asked = [question for question in QUESTIONS if question.key in typed]
    click.echo(err=True)
    for number, question in enumerate(asked, 1):
        click.echo(f"{number:>3}  {question.name}{colon()}{question.told(typed[question.key])}", err=True)

    def problem(choice: str) -> str:
        if not choice or (choice.isdecimal() and 1 <= int(choice) <= len(asked)):
            return ""
        return _("'{choice}' is no number of these; accepted: 1 to {n}").format(choice=choice, n=len(asked))

    choice = _until(_("A number to change that answer; Enter: write all this"), problem, "")
    return asked[int(choice) - 1] if choice else None


def _ask(question: Question, answered: _Tables, before: str | None) -> str:
    """Put one more answer to those that there are; as it was typed. `before`: what was typed first."""
    table, key = question.key.split(".")
    if question.before:
        click.echo(_(question.before), err=True)

    def problem(typed: str) -> str:
        if question.wrong is not None:
            return question.wrong(typed)
        answered[table][key] = question.read(typed)
        if question.default is None and not answered[table][key]:
            return _("something is needed here")
        return _problem(question.key, answered)

    default = question.default(answered) if question.default else None
    if before is not None and not question.hidden:
        default = before
    return _until(_(question.words), problem, default, hidden=question.hidden)


def _forget(key: str, answered: _Tables, typed: dict[str, str]) -> None:
    """An answer that is not asked for, or will be asked for once more."""
    table, name = key.split(".")
    answered[table].pop(name, None)
    typed.pop(key, None)


def _problem(key: str, answered: _Tables) -> str:
    """What the newest answer, of this key, makes wrong; empty if nothing."""
    table, name = key.split(".")
    value = answered[table][name]
    if key == "service.language" and value not in LANGUAGES:
        wrong = _("'{language}' has no shipped prompts; accepted: {languages}")
        return wrong.format(language=value, languages=", ".join(LANGUAGES))
    if table == "service" and rules.example_left_in_place(name, value):
        return _("'{value}' is an example; accepted: yours").format(value=value)
    try:
        checked(over(shipped_tables(), answered), Path(TEMPLATE))
    except ConfigError as error:
        where = "" if error.key.startswith(key) else f"{error.key}: "
        ways = _("; accepted: {accepted}").format(accepted=shown(error.accepted)) if error.accepted else ""
        return f"{where}{shown(error.problem)}{ways}"
    return ""


def _until(
    words: str, problem: Callable[[str], str], default: str | None = None, *, hidden: bool = False
) -> str:
    """Ask until nothing is wrong with the answer."""
    while True:
        typed: str = click.prompt(
            words,
            default=default,
            show_default=bool(default),
            hide_input=hidden,
            prompt_suffix=colon(),
            err=True,
        )
        if not (wrong := problem(typed)):
            return typed
        click.echo(f"  {shown(wrong)}", err=True)
