r"""The program that the commands are part of: help, configuration, errors, exit codes, archive, files.

0  done, also when there was nothing to do
1  refused, failed a check, or no such id     Failure and any other WithReason, MediaError, OSError
2  wrong usage or configuration               click.UsageError, ConfigError

**Help** is in the language that is spoken: translated when it is asked for, not as it is written. A
docstring is translated by paragraphs, whose lines click wraps anew. Of a paragraph that begins with `\b`,
whose lines stay, each line is a text of its own; of examples the heading alone.

**A configuration that nobody named** is looked for in the usual places. Who writes a configuration
decides what `sipagent` removes and runs. So one that was only found is followed where nobody but root,
the user who runs `sipagent` and the service's user can change or replace it. It is judged as sshd judges
a key (StrictModes in sshd_config(5)), but a private group, as Debian gives each user, may write.

**A new file** gets its name only when it is whole: an unfinished one leaves nothing behind. Not even
after kill -9, if the file system supports files without a name (open(2), O_TMPFILE). FAT and some network
file systems do not: there an unfinished file has a name that says so, and is removed when the program
ends.
"""

import copy
import csv
import errno
import grp
import inspect
import io
import json
import os
import pwd
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, wraps
from gettext import gettext, pgettext
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click

from media import MediaError
from retention.texts import APART, WithReason, apart
from sipagent.config.errors import ConfigError, one_line, plain_spaces
from sipagent.languages import typography
from sipagent.languages.choice import LANGUAGES, of_arguments, of_environment, speaking
from sipagent.languages.labels import label
from sipagent.languages.spoken import colon, fault, shown

if TYPE_CHECKING:  # what is kept is slow to import; `--help` and `--version` do not need it
    from retention.archive import Archive
    from retention.purge import Terms
    from retention.records import Access, Recording
    from sipagent.config.load import Config

Shown = TypeVar("Shown", bound=click.Command)


def translated(command: Shown) -> Shown:
    """A copy of a command, as people are shown it and as it is run."""
    shown = copy.copy(command)
    shown.help = command.help and _paragraphs(command.help)
    shown.short_help = command.short_help and gettext(command.short_help)
    shown.options_metavar = command.options_metavar and pgettext("metavar", command.options_metavar)
    if isinstance(shown, click.Group):
        shown.subcommand_metavar = pgettext("metavar", shown.subcommand_metavar)
    shown.params = [_parameter(one) for one in command.params]
    return shown


def help_texts(command: click.Command) -> Iterator[tuple[str | None, str]]:
    """Every text of a command and those below it that a catalogue should have, with its context."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield from ((None, text) for text in _help_parts(paragraph) if text)
    yield from ((None, text) for text in (command.short_help,) if text)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.help:
            yield None, parameter.help
        if parameter.metavar:
            yield "metavar", parameter.metavar
    if isinstance(command, click.Group):
        yield "metavar", command.subcommand_metavar
        for one in command.commands.values():
            yield from help_texts(one)


def _parameter(parameter: click.Parameter) -> click.Parameter:
    shown = copy.copy(parameter)
    shown.metavar = parameter.metavar and pgettext("metavar", parameter.metavar)
    if isinstance(shown, click.Option):
        shown.help = shown.help and gettext(shown.help)
    return shown


def _paragraphs(help: str) -> str:
    paragraphs = (_paragraph(one) for one in inspect.cleandoc(help).split("\n\n"))
    return "\n\n".join(paragraphs)


def _paragraph(paragraph: str) -> str:
    if not paragraph.startswith("\b"):
        return gettext(next(_help_parts(paragraph))) if paragraph.strip() else paragraph
    lines = paragraph.split("\n")
    to_say = set(_help_parts(paragraph))
    return "\n".join(
        line.replace(line.strip(), gettext(line.strip())) if line.strip() in to_say else line
        for line in lines
    )


def _help_parts(paragraph: str) -> Iterator[str]:
    if not paragraph.startswith("\b"):
        yield " ".join(paragraph.split())
        return
    _, heading, *lines = map(str.strip, paragraph.split("\n"))
    yield heading
    if not heading.startswith("Example"):
        yield from filter(None, lines)


LOCAL_CONFIG = Path("config.toml")
SYSTEM_CONFIG = Path("/etc/sipagent/config.toml")
SERVICE = "sipagent"  # the service's user
_ACL = "system.posix_acl_access"


def usual_config() -> Path:
    """The first usual place with a configuration, which may be followed.

    Raises ConfigError, which names all places, or why the one that is found is not followed.
    """
    faults = []
    for path in (LOCAL_CONFIG, SYSTEM_CONFIG):
        try:
            path.lstat()
        except OSError as error:  # also for a folder that this user may not read
            faults.append(fault(error).lower())
        else:
            break
    else:
        here, there = faults
        problem = _("{here}; {file}: {there}").format(here=here, file=SYSTEM_CONFIG, there=there)
        ways = _("either, or a path by --config or SIPAGENT_CONFIG")
        raise ConfigError(LOCAL_CONFIG, "", problem, ways)
    if (weak := weakness(path, trusted())) is not None:
        raise ConfigError(path, "", weak, _("one that you name: --config {file}").format(file=path))
    return path


def trusted() -> frozenset[int]:
    """root, this user and the service's. Not the one who called sudo: that command may be all they may do."""
    try:
        return frozenset((0, os.geteuid(), pwd.getpwnam(SERVICE).pw_uid))
    except KeyError:
        return frozenset((0, os.geteuid()))


def weakness(path: Path, trusted: frozenset[int]) -> str | None:
    """Why somebody else than the `trusted` decides what a file says; None if nobody does."""
    link, target = Path(os.path.realpath(path.parent), path.name), Path(os.path.realpath(path))
    for name in dict.fromkeys((link, target)):
        for place in (name, *name.parents):
            try:
                found = place.lstat()
            except FileNotFoundError:
                continue  # a link to nothing; whoever reads it says so
            if found.st_uid not in trusted:
                return _("{place} belongs to {user}").format(place=place, user=user_name(found.st_uid))
            # In a sticky folder nobody else renames what is theirs, but anybody adds: a database, a prompt.
            kept = found.st_mode & stat.S_ISVTX and place not in (name, name.parent)
            if not kept and _is_open(place, found, trusted):
                return _("others may write {place}").format(place=place)
    return None


def user_name(uid: int) -> str:
    """The user's name, or else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_open(place: Path, found: os.stat_result, trusted: frozenset[int]) -> bool:
    """Whether others than the `trusted` may write."""
    if stat.S_ISLNK(found.st_mode):
        return False
    if found.st_mode & stat.S_IWOTH:
        return True
    shared = bool(found.st_mode & stat.S_IWGRP)
    return shared and (_has_list(place) or not _is_private(found.st_gid, trusted))


def _has_list(place: Path) -> bool:
    """Whether there is an access list, for whose users the group's bit stands as well (acl(5))."""
    try:
        return _ACL in os.listxattr(place)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return False
        raise


def _is_private(gid: int, trusted: frozenset[int]) -> bool:
    """Whether a group is that of one trusted user, with the same name, and nobody else is in it.

    The name counts, since a directory service need not list who has a group as the first one.
    """
    try:
        group = grp.getgrgid(gid)
        owner = pwd.getpwnam(group.gr_name)
    except KeyError:
        return False
    members = {
        owner.pw_uid,
        *_uids(group.gr_mem),
        *(one.pw_uid for one in pwd.getpwall() if one.pw_gid == gid),
    }
    return owner.pw_gid == gid and members <= trusted


def _uids(names: list[str]) -> Iterator[int]:
    """Of users, -1 for a name that no user has yet."""
    for name in names:
        try:
            yield pwd.getpwnam(name).pw_uid
        except KeyError:
            yield -1


_WORDS = 500  # characters
_LISTED = 10  # how many ids fit into one line
_OFFERED = 50  # how many ids a shell gets for completion

LANGUAGE_OPTION: dict[str, Any] = {
    "type": click.Choice(LANGUAGES),
    "expose_value": False,
    "help": "The language of what is said to people; else that of the environment (LANG).",
}

_BY: dict[str, Any] = {
    "metavar": "WHO",
    "help": "Your name; it is kept in the trace beside the system's user.",
}

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
PRESENT = click.Path(path_type=Path, dir_okay=False, exists=True)  # a file that must be there

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def all_of(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Several options as one decorator; `--help` has them in this order."""

    def add(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return add


class Failure(WithReason):
    """The command refuses or has failed; `str()` is the one line to show."""


class _Pipe(io.FileIO):
    """A stdout whose reader may leave: the rest of the output is dropped, and the command ends normally.

    So `calls | head` does not fail, and `verify | head` still fails if something is wrong.
    """

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            return memoryview(content).nbytes


def _let_readers_leave() -> None:
    """If stdout is a pipe or a socket, allow its reader to leave."""
    stream = sys.stdout
    if stream is not sys.__stdout__ or not isinstance(stream, io.TextIOWrapper):
        return  # of another program
    kind = os.fstat(stream.fileno()).st_mode
    if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
        stream.flush()
        pipe = io.BufferedWriter(_Pipe(stream.fileno(), "w", closefd=False))
        sys.stdout = io.TextIOWrapper(
            pipe, stream.encoding, stream.errors, line_buffering=stream.line_buffering
        )


class Program(click.Group):
    """A group that keeps the order of its commands, and whose errors are one line on stderr."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of adding: what is used daily comes first."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """In the language that is spoken."""
        command = super().get_command(ctx, cmd_name)
        return command and translated(command)

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> Any:
        """Run and exit with the code."""
        extra.pop("standalone_mode", None)
        extra["prog_name"] = extra.get("prog_name") or "sipagent"
        arguments = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):
            typography.show_all(stream)
        _let_readers_leave()
        with speaking(self._language(arguments)):
            self._run(arguments, extra)

    def _language(self, arguments: Sequence[str]) -> str:
        """English beside `--json`: a program reads it. A command's own `--lang` is about something else."""
        if "--json" in arguments:
            return "en"
        own = (place for place, word in enumerate(arguments) if _has_own_language(self.commands.get(word)))
        return of_arguments(arguments[: next(own, None)]) or of_environment(os.environ)

    def _run(self, arguments: list[str], extra: dict[str, Any]) -> None:
        """Raises SystemExit, always."""
        try:
            code = click.Group.main(translated(self), arguments, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as help:
            click.echo(help.format_message(), err=True)
            sys.exit(2)
        except click.UsageError as error:
            sys.exit(_say(_usage(error), 2))
        except ConfigError as error:
            sys.exit(_say(shown(error), 2))
        except click.Abort:
            sys.exit(_say(_("aborted"), 1))
        except (WithReason, MediaError) as error:
            sys.exit(_say(refusal_line(error), 1))
        except UnicodeEncodeError as error:  # an argument that no database and no library takes
            sys.exit(_say(_("{file}: is not UTF-8 text").format(file=ascii(error.object)), 2))
        except ModuleNotFoundError as absent:
            if absent.name != "pjsua2":
                raise
            said = _("no SIP engine is installed; accepted: pjsua2-python, or one of your own build")
            sys.exit(_say(said, 1))
        except OSError as error:
            sys.exit(_say(colon().join(filter(None, (error.filename, fault(error)))), 1))
        sys.exit(code if isinstance(code, int) else 0)


def refusal_line(error: Exception) -> str:
    """What stderr says of a refusal, after the call or the file that it is about."""
    return colon().join(filter(None, (getattr(error, "about", ""), shown(error))))


def _usage(error: click.UsageError) -> str:
    command = error.ctx.command_path if error.ctx else "sipagent"
    message = error.format_message().rstrip(".")
    advice = _("see `{command} --help`").format(command=command)
    return f"{message[:1].lower()}{message[1:]} ({advice})"


def _say(message: str, code: int) -> int:
    words = re.split(r"[ \t\r\n\f\v]+", message.strip())  # no-break spaces stay
    click.echo(f"sipagent: {one_line(' '.join(words))}", err=True)
    return code


@dataclass
class Workplace:
    """The configuration and what depends on it, each read when first needed.

    `named`: by `--config` or SIPAGENT_CONFIG, None without either.
    """

    named: Path | None

    @cached_property
    def config(self) -> "Config":
        """Raises ConfigError."""
        from sipagent.config.load import load

        return load(self.named or usual_config())

    def tell_followed(self) -> None:
        """Say on stderr whose configuration something is removed by."""
        file = self.config.file.absolute()
        said = _("by the configuration {file} (owner: {owner})")
        said = said.format(file=one_line(str(file)), owner=user_name(file.stat().st_uid))
        click.echo(f"sipagent: {said}", err=True)

    @property
    def folder(self) -> Path:
        """The folder of the configuration, or of a future one: without one, the current folder."""
        try:
            return (self.named or usual_config()).parent
        except ConfigError:
            return LOCAL_CONFIG.parent

    @property
    def terms(self) -> "Terms":
        """How long things are kept."""
        from sipagent.agent.stored import terms_of

        return terms_of(self.config)

    def archive(self, *, make: bool = False) -> "Archive":
        """The archive; a missing database is created with `make`, and counts as empty without.

        Raises ConfigError, StoreError.
        """
        from retention.recording_files import has_metadata
        from retention.sqlite import Store
        from sipagent.agent.stored import archive_of, is_there, store_of

        database = self.config.database
        there = make or is_there(self.config)
        store = store_of(self.config) if there else Store(":memory:")
        archive = archive_of(self.config, store)
        if not there and has_metadata(archive.files):
            said = _("{file} is missing, but there are recordings: see `sipagent rebuild`")
            click.echo(f"sipagent: {said.format(file=database.name)}", err=True)
        return archive

    def local(self, at: datetime) -> datetime:
        """The moment in the service's time zone."""
        return at.astimezone(self.config.service.timezone)


def meant(archive: "Archive", typed: str) -> str:
    """The id of the call that is meant: by its id, a unique beginning of it, or its reference.

    Raises Failure for no call, and for several, which it lists.
    """
    from retention.rows.rows import ids_meant

    return one_of(typed, ids_meant(archive.store, typed, _LISTED + 1))


def one_of(typed: str, found: Sequence[str]) -> str:
    """The only one that was found. Raises Failure for none, and for several, which it lists."""
    if not found:
        raise Failure(_("{id}: no such id").format(id=typed))
    if len(found) > 1:
        more = ", …" if len(found) > _LISTED else ""
        several = ", ".join(found[:_LISTED]) + more
        raise Failure(_("{id}: may be {several}; accepted: one of them").format(id=typed, several=several))
    return found[0]


def find(archive: "Archive", typed: str) -> "Recording":
    """The recording that is `meant`. Raises Failure, with help for users who gave a call without
    recording."""
    from retention.rows.rows import UnknownId

    id = meant(archive, typed)
    try:
        return archive.store.recording(id)
    except UnknownId:
        pass
    call = archive.store.receipt(id)
    decision = label("decision", call.decision)
    raise Failure(_("{id}: this call has no recording ({decision})").format(id=id, decision=decision))


def now() -> datetime:
    """The present time."""
    return datetime.now(UTC)


def system_user() -> str:
    """The user by the system; for root by sudo, the user who called sudo."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container: only a number
        name = str(os.getuid())
    behind = os.environ.get("SUDO_USER") if os.getuid() == 0 else None
    return f"{name} (sudo by {behind})" if behind else name  # as it is kept


def attempt(action: str, **fields: Any) -> "Access":
    """What somebody tries at this shell just now, for the trace; `fields`: more of `Access`."""
    from retention.records import Access

    return Access(**{"at": now(), **fields}, action=action, system_user=system_user(), via="cli")


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON value on stdout; ASCII only, so that a caller's text cannot control the terminal."""
    click.echo(json.dumps(apart(value) if APART in os.environ else value, indent=2))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, times in UTC.")


Form = Literal["json", "csv"]
"""What a list is printed as, for programs; None: as a table, for people."""


def form_option(command: Decorated) -> Decorated:
    """`--json` and `--csv`, which give `form`; one of them."""

    @wraps(command)
    def formed(*args: Any, as_json: bool, as_csv: bool, **rest: Any) -> Any:
        if as_json and as_csv:
            raise click.UsageError(_("--json and --csv exclude each other; accepted: one of them"))
        return command(*args, form="json" if as_json else "csv" if as_csv else None, **rest)

    csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV (RFC 4180), times in UTC.")
    return cast(Decorated, json_option(csv_option(formed)))


_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.]+$)")


def print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line a row under the names of its fields; lists and objects as JSON. No cell is a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for row in [rows[0].keys(), *(map(_csv_cell, row.values()) for row in rows)] if rows else []:
        writer.writerow(row)
    click.echo(text.getvalue(), nl=False)


def _csv_cell(value: Any) -> object:
    if not isinstance(value, str):
        return value if value is None or isinstance(value, int | float) else json.dumps(value)
    return f"'{value}" if _FORMULA.match(value) else value


def config_option(command: click.Command) -> None:
    """Allow `--config` after the command, too: there it has priority."""

    def named(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
        if path is None:
            return
        root = ctx.find_root()
        root.params["config_path"] = path  # where completion looks
        if isinstance(root.obj, Workplace):
            root.obj.named = path

    option = click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="The configuration.",
        expose_value=False,
        callback=named,
    )
    command.params.append(option)


def language_option(command: click.Command) -> None:
    """Allow `--lang` after the command, too; `Program` has read it already."""
    if not _has_own_language(command):
        command.params.append(click.Option(["--lang"], **LANGUAGE_OPTION))


def _has_own_language(command: click.Command | None) -> bool:
    """Whether it has a `--lang` that is about something else than what it says to people."""
    params = command.params if command else ()
    return any("--lang" in param.opts and param.expose_value for param in params)


def words(text: str) -> str:
    """The `type` of an option whose value goes into the trace, such as a name or a reference: one line.

    Raises click.BadParameter.
    """
    text = plain_spaces(text).strip(" ")
    if not text:
        raise click.BadParameter(_("says nothing"))
    if not text.isprintable():  # a byte that is not UTF-8 is not printable
        raise click.BadParameter(_("is not one line of text"))
    if len(text) > _WORDS:
        raise click.BadParameter(_("is too long; accepted: {limit} characters").format(limit=_WORDS))
    return text


# not yet looked at: whoever refuses what it says keeps that in the trace
by_option = click.option("--by", **_BY)
words_by_option = click.option("--by", type=words, **_BY)


def _possible_id(ctx: click.Context, param: click.Parameter, id: str | None) -> str | None:
    from retention.records import is_id

    typed = id and re.sub(r"^#|\s", "", id)  # `#482 913`, the written form of a reference
    if typed is not None and not is_id(typed):  # cannot be looked up, perhaps not even a text
        raise Failure(_("{id}: no such id").format(id=ascii(id)))
    return typed


def _complete_id(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from retention.rows.rows import StoreError, ids_beginning

    try:
        store = Workplace(ctx.find_root().params.get("config_path")).archive().store
        return [*ids_beginning(store, "recordings", incomplete, _OFFERED, newest=True)]
    except (ConfigError, StoreError, OSError):
        return []  # nothing to offer, and nowhere to say why


# completed by the shell with the newest ones; `meant` finds the call
id_argument = click.argument("id", callback=_possible_id, shell_complete=_complete_id)
optional_id_argument = click.argument(
    "id", required=False, callback=_possible_id, shell_complete=_complete_id
)


_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)  # the errors of a file system without O_TMPFILE

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def new_file(target: Path, *, replace: bool) -> Iterator[tuple[int, Callable[[], None]]]:
    """Open a file (mode 0600) for `target`; yields its descriptor and what names it.

    Naming it makes it durable. Raises OSError, FileExistsError if `target` exists and `replace` is false.
    """
    from retention.files import sync_folder

    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    descriptor, named = _open_nameless(temporary)

    def name() -> None:
        os.fsync(descriptor)
        if not named:
            _give_name(descriptor, temporary if replace else target)
        elif not replace and os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        if named or replace:
            temporary.replace(target)
        sync_folder(target.parent)

    try:
        yield descriptor, name
    except OSError as error:
        if error.errno in _NO_ROOM and error.filename is None:  # a write names no file
            error.filename = str(target)
        raise
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def _open_nameless(temporary: Path) -> tuple[int, bool]:
    """A descriptor, and whether it has a name."""
    try:
        return os.open(temporary.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), False
    except OSError as error:
        if error.errno not in _NO_TMPFILE:
            raise
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(temporary, flags, 0o600), True


def _give_name(descriptor: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # a folder must be given, or Python takes link(2), which does not follow
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def why_not_written(file: Path, force: bool) -> str | None:
    """Why a file of people's is not written, in one line; None if it can be."""
    if file.exists() and not force:
        return _("{file} exists; --force replaces it").format(file=file)
    folder = file.absolute().parent
    return None if folder.is_dir() else _("{file} is not a directory").format(file=folder)
