"""Moves all that is kept into a database that hosts share, and back: `migrate`."""

from contextlib import ExitStack
from dataclasses import dataclass
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retention.archive import Archive
from retention.files import alone
from retention.journal import Journal
from retention.marks import Marks
from retention.move import Done, MoveTarget, move, prepare, put_in_place, take_along, take_stamps, tidy
from retention.recording_files import Area, FileKind, RecordingFiles, finished
from retention.records import Access, Json, to_text
from retention.rows.rows import Rows
from retention.stamps import stamps_of
from sipagent.agent import stored
from sipagent.cli.program import (
    PRESENT,
    Failure,
    Workplace,
    attempt,
    json_option,
    print_json,
    words_by_option,
)
from sipagent.cli.terminal import Step, figure, full, steps
from sipagent.languages.labels import N_

if TYPE_CHECKING:
    from sipagent.config.load import Config

_ALONE = _("--objects: --to is needed; into a store alone files go by themselves, once [objects] names it")
_LONG = 2000  # from this many of anything on, progress shows
# what the bars are called
_STEPS = (
    *(N_("comparing chain"), N_("comparing receipts"), N_("comparing recordings")),
    *(N_("comparing accesses"), N_("comparing notes"), N_("comparing sums"), N_("comparing approvals")),
    N_("comparing files"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options, as they are typed."""

    to: str | None
    objects: str | None
    host: str | None
    password_file: Path | None
    endpoint: str | None
    region: str | None
    credentials_file: Path | None


@click.command("migrate")
@click.option("--to", metavar="URL", help="postgresql://…; back: the path of a file, where nothing is yet.")
@click.option("--objects", metavar="URL", help="s3://bucket/prefix: recordings and keys go there.")
@click.option("--host", metavar="NAME", help="Which of several hosts this will be; default: a.")
@click.option("--password-file", type=PRESENT, metavar="FILE", help="With the password of that database.")
@click.option("--endpoint", metavar="URL", help="Of the object store; default: Amazon's.")
@click.option("--region", metavar="NAME", help="As the object store names it.")
@click.option(
    "--credentials-file", type=PRESENT, metavar="FILE", help="For the object store, as AWS's tools have it."
)
@words_by_option
@json_option
@click.pass_obj
def migrate_command(work: Workplace, /, *, by: str | None, as_json: bool, **options: Any) -> None:
    """Move all that is kept from this host's database and files to where --to and --objects say, and compare.

    No agent may run, and nothing else may be there. The chain stays the same chain, entry for entry: exported
    heads and time stamps stay good. Can be repeated after a crash: it goes on. What is here stays as it was,
    but nothing is written here any more; it says until when it may be kept. The configuration is not edited:
    it prints what to write. What led to a person is written into PostgreSQL only sealed.

    Back: --to PATH, with the configuration that names the shared database. What is in an object store comes
    back to recording.directory.

    \b
    Examples:
      sipagent migrate --to postgresql://sipagent@db.example.net/sipagent
      sipagent migrate --to postgresql://db.example.net/sipagent --objects s3://calls/a
      sipagent migrate --to /var/lib/sipagent/retention.db
    """
    asked = _Options(**options)
    if asked.to is None:
        raise click.UsageError(_ALONE if asked.objects else _("--to is needed"))
    config = work.config
    new, written = _planned(config, asked)
    if stored.is_here(config) and not config.database.exists():
        raise Failure(_("{path}: there is no database yet").format(path=config.database))
    try:
        with alone(config.places.lock), steps(_LONG) as step:
            done = _move(work, new, attempt("migrate", by=by), step)
    except BlockingIOError as running:
        raise Failure(_("{path}: an agent is running").format(path=config.places.lock)) from running
    if as_json:
        print_json(_told(done, config, written))
    else:
        _show(work, done, new, written)


def _move(work: Workplace, new: "Config", trace: Access, step: Step) -> Done:
    """Raises MoveError, StoreError, OSError."""
    config = work.config
    here, there = config.places, new.places
    store = stored.store_of(config)
    source = Archive(store, stored.files_apart(config, store), Marks(config.recording.directory))
    if not stored.is_here(config):
        _refuse_living(config, source.store)
    if config.objects is not None:
        _refuse_waiting(config, source.files)
    if stored.is_here(new):
        prepare(there)
    _refuse_other_accounts(config, new)
    with stored.arriving_of(new) as rows:
        target = MoveTarget(
            name=_name(new),
            rows=rows,
            files=stored.files_apart(new, rows) if config.objects != new.objects else None,
            sealed_only=new.objects is not None,
        )
        done = move(source, target, trace, config.retention.period, step)
        take_stamps(stamps_of(store), stamps_of(rows))
    take_along(here, there)
    done.accounts = _take_accounts(config, new, again=done.again)
    if stored.is_here(new):
        put_in_place(there)
    for places in (here, there):
        tidy(places)
    return done


def _refuse_other_accounts(config: "Config", new: "Config") -> None:
    """Raise AccountError where other people log in already; StoreError where nobody could."""
    source = stored.accounts_there(config)
    if source is None:
        return
    with source, ExitStack() as stack:
        if source.moved_to() is not None:
            return  # all came along, or will
        there = stored.accounts_there(new) if stored.is_here(new) else stored.accounts_of(new)
        if there is not None:
            stack.enter_context(there)
            there.refuse_others(source.everything())


def _take_accounts(config: "Config", new: "Config", *, again: bool) -> int:
    """Have those there who log in here: nobody changes them here any more. How many accounts and tokens.

    `again`: rows had all come before; then so may have these, and others since."""
    source = stored.accounts_there(config)
    if source is None:
        return 0
    with source, stored.accounts_of(new) as there:
        every = source.everything()
        if again and there.are_there():
            return 0
        there.take(every)
    return len(every["accounts"]) + len(every["tokens"])


def _refuse_waiting(config: "Config", objects: RecordingFiles) -> None:
    """Raise Failure while files of this host have not gone to the store of objects yet."""
    spool = stored.spool_of(config)
    here = {id for area in Area for _name, id in spool.names(area) if id is not None}
    if waiting := [id for id in here if not finished(objects, id) or not objects.exists(id, FileKind.KEY)]:
        said = _("files of {n} recordings wait here for the object store: start the agent once, and stop it")
        raise Failure(said.format(n=len(waiting)))


def _refuse_living(config: "Config", store: Rows) -> None:
    """Raise Failure while any host runs, or has in its journal what the shared database does not have."""
    from retention.postgres.database import SharedStore
    from retention.records import HostState

    assert isinstance(store, SharedStore)
    now = store.now()
    for one in store.hosts():
        if one.state(now) in (HostState.RUNNING, HostState.DRAINING):
            raise Failure(_("host {host} runs; accepted: all of them stopped").format(host=one.host))
        if one.lag_rows:
            said = _("host {host} has rows that are not here yet ({n}): start it once, and stop it")
            raise Failure(said.format(host=one.host, n=one.lag_rows))
    if config.database.exists():
        with Journal(config.database) as journal:
            if rows := journal.lag().rows:
                said = _("{file} has rows that are not there yet ({n}): start the agent once, and stop it")
                raise Failure(said.format(file=config.database, n=rows))


def _name(config: "Config") -> str:
    """How people name where it is kept; without a password."""
    database = config.shared or str(config.database)
    return database if config.objects is None else f"{database}, {config.objects.url}"


def _planned(config: "Config", asked: _Options) -> "tuple[Config, str]":
    """The configuration as it will be, and what to write into it, as TOML. Raises ConfigError, Failure."""
    from sipagent.config.load import checked, read, tables_of

    tables = tables_of(read(config.file), config.file)
    written: dict[str, dict[str, object]] = {}
    removed: list[str] = []
    if asked.to is not None and "://" in asked.to:
        if config.shared is not None:
            raise Failure(_("the rows are in a shared database already; accepted: the path of a file"))
        written["retention"] = {"database": asked.to}
        if asked.password_file is not None:
            written["retention"]["database_password_file"] = _path(config, asked.password_file)
        journal = _path(config, config.places.folder / "journal.db")
        written["cluster"] = {"host": asked.host or "a", "journal": journal}
    elif asked.to is not None:
        if config.shared is None and config.objects is None:
            raise Failure(_("the rows are in a file of this machine already; accepted: postgresql://…"))
        written["retention"] = {"database": _path(config, Path(asked.to))}
        removed = ["retention.database_password_file", "cluster", "objects"]
    if asked.objects is not None:
        if removed:
            raise Failure(_("--objects: files come back with the rows"))
        told = {
            "url": asked.objects,
            "endpoint": asked.endpoint,
            "region": asked.region,
            "credentials_file": asked.credentials_file and _path(config, asked.credentials_file),
        }
        written["objects"] = {name: value for name, value in told.items() if value is not None}
    there = [name for name in removed if _taken_out(tables, name)]
    for table, keys in written.items():
        tables[table] = tables.get(table, {}) | keys if table != "objects" else keys
    return checked(tables, config.file), _toml(written, there)


def _taken_out(tables: dict[str, Any], name: str) -> bool:
    """Whether it was there."""
    table, _dot, key = name.partition(".")
    found = tables.get(table, {})
    return (found.pop(key, None) if key else tables.pop(table, None)) is not None


def _path(config: "Config", path: Path) -> str:
    """As in the configuration: relative to its folder where it lies there."""
    return config.named(path.absolute())


def _toml(written: dict[str, dict[str, object]], removed: list[str]) -> str:
    lines = []
    for table, keys in written.items():
        lines += [f"[{table}]", *(f'{name} = "{value}"' for name, value in keys.items()), ""]
    lines += [_("# and without {name}").format(name=name) for name in removed]
    return "\n".join(lines).rstrip() + "\n"


def _told(done: Done, config: "Config", written: str) -> Json:
    return {
        "head": {"seq": done.head.seq, "hash": done.head.hash},
        "rows": done.rows,
        "recordings": done.files,
        "accounts": done.accounts,
        "again": done.again,
        "left": str(config.shared or config.database),
        "remove_by": done.until and to_text(done.until),
        "configuration": written,
    }


def _show(work: Workplace, done: Done, new: "Config", written: str) -> None:
    config = work.config
    if done.again:
        click.echo(_("It is all in {where} already.").format(where=_name(new)))
    else:
        counted = figure(sum(done.rows.values()) - done.rows.get("chain", 0))
        said = _("{where}: {rows} rows, {entries} entries of the chain, the files of {n} recordings")
        entries, files = figure(done.rows.get("chain", 0)), figure(done.files)
        click.echo(said.format(where=_name(new), rows=counted, entries=entries, n=files))
        click.echo(_("All of it was compared: it is as it is here."))
    if done.accounts:
        said = ngettext(
            "{n} account or token of the page came along; everybody logs in again.",
            "{n} accounts and tokens of the page came along; everybody logs in again.",
            done.accounts,
        )
        click.echo(said.format(n=figure(done.accounts)))
    if done.accounts and not stored.is_here(new):
        said = _("Every other host whose page they log in to needs a copy of {file}, mode 0600.")
        click.echo(said.format(file=new.places.accounts_key))
    click.echo(_("\nWrite into {file}:\n").format(file=config.file))
    click.echo(written)
    click.echo(_("Then: sipagent check && sipagent verify, and start the agent."))
    _show_left(work, done)


def _show_left(work: Workplace, done: Done) -> None:
    """What to do with what is left here."""
    config = work.config
    left = config.shared or str(config.database)
    click.echo(
        _("{left} is as it was, and takes no row any more. Remove it once all goes well.").format(left=left)
    )
    if stored.is_here(config) and config.places.accounts.exists():
        click.echo(_("So is {file}: nobody logs in by it.").format(file=config.places.accounts))
    if done.until is not None:
        said = _("By {until} at the latest: then the first recording in it expires.")
        click.echo(said.format(until=full(work.local(done.until))))
