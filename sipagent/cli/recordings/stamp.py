"""A third party's time stamp on what was written so far: `stamp`."""

from gettext import gettext as _

import click

from retention.recording import Json, to_text
from retention.stamps.authority import StampError
from retention.stamps.kept import FolderStamps, stamps_beside
from retention.stamps.stamp import Stamped, StampProblem, newest, stamp_head, stamps
from sipagent.agent.recorder.stored import is_there, store_of
from sipagent.cli.base import Failure, Workplace, json_option, print_json
from sipagent.cli.tables import Column, console, show_table
from sipagent.cli.times import full
from sipagent.config.errors import ConfigError
from sipagent.config.identity import printable
from sipagent.languages.reason import shown

Row = Stamped | StampProblem


@click.command("stamp", short_help="Have the chain's head stamped by the time stamping authority.")
@click.option(
    "--list", "listed", is_flag=True, help="Show the stamps there are, the newest first, unchecked."
)
@json_option
@click.pass_obj
def stamp_command(work: Workplace, /, *, listed: bool, as_json: bool) -> None:
    """Have the chain's head stamped by the authority of retention.timestamp_url (RFC 3161).

    The agent does it by itself every hour. `verify` checks the stamps; so does openssl, without this program.

    \b
    Examples:
      sipagent stamp
      sipagent stamp --list
    """
    try:
        if listed:
            _list(work, _there(work), as_json)
        else:
            _stamp(work, as_json)
    except StampError as wrong:
        raise Failure(*wrong.args) from wrong


def _there(work: Workplace) -> list[Row]:
    """All stamps, also where the database of this host is gone."""
    if work.config.shared is None:
        return list(stamps(FolderStamps(work.config.places.stamps)))
    with store_of(work.config) as store:
        return list(stamps(stamps_beside(store)))


def _stamp(work: Workplace, as_json: bool) -> None:
    kept = work.config.retention
    if kept.timestamp_url is None or kept.timestamp_ca is None:
        accepted = _("the URL of an RFC 3161 authority, with retention.timestamp_ca")
        raise ConfigError(work.config.file, "retention.timestamp_url", _("absent"), accepted)
    if not is_there(work.config):
        said = _("{file}: there is no database yet, and nothing to stamp")
        raise Failure(said.format(file=work.config.database))
    with store_of(work.config) as store:
        made = stamp_head(store, kept.timestamp_url, kept.timestamp_ca)
        last = made or newest(stamps_beside(store))
    if as_json:
        print_json({"stamped": made is not None, "stamp": None if last is None else _json(last)})
    elif last is not None:
        new = _("stamped entry {seq}: {when}, {authority}")
        old = _("the head has not moved since the stamp of entry {seq}: {when}, {authority}")
        when, authority = full(work.local(last.at)), printable(last.authority)
        click.echo((new if made else old).format(seq=last.seq, when=when, authority=authority))


def _list(work: Workplace, rows: list[Row], as_json: bool) -> None:
    if as_json:
        print_json([_json(row) for row in rows])
        return
    columns: list[Column[Row]] = [
        Column("file", lambda row: row.path.name if isinstance(row, Stamped) else row.name),
        Column("at", lambda row: full(work.local(row.at)) if isinstance(row, Stamped) else None),
        Column("authority", lambda row: row.authority if isinstance(row, Stamped) else None, shrinks=True),
        Column(
            "hash", lambda row: row.hash if isinstance(row, Stamped) else shown(row.problem), shrinks=True
        ),
    ]
    if rows:
        show_table(rows, columns, console())
    else:
        click.echo(_("No stamps."))


def _hash(row: Row) -> str:
    return row.hash if isinstance(row, Stamped) else shown(row.problem)


def _json(row: Row) -> Json:
    if isinstance(row, StampProblem):
        return {"file": row.name, "problem": row.problem}
    return {
        "file": row.path.name,
        "seq": row.seq,
        "hash": row.hash,
        "at": to_text(row.at),
        "authority": row.authority,
    }
