"""Proof that what is kept is still what was written: `verify`, `stamp`.

`verify` checks chain, files and stamps, and changes nothing. `stamp` has a third party's time stamp put
on what was written so far.
"""

from gettext import gettext, ngettext
from gettext import gettext as _
from pathlib import Path

import click
from rich.console import Console

from retention.archive import Archive
from retention.recording_files import has_metadata
from retention.records import Json, to_text
from retention.stamps import (
    FolderStamps,
    Stamped,
    StampError,
    StampProblem,
    StampReport,
    each_stamp,
    newest,
    stamp_head,
    stamps_beside,
    verify_stamps,
)
from retention.texts import Reason
from retention.verify import Mismatch, Verified, verify
from sipagent.agent.stored import is_there, lacks_rows, spool_of, store_of
from sipagent.cli.program import Failure, Workplace, json_option, print_json
from sipagent.cli.terminal import Column, Step, console, figure, full, show_fields, show_table, steps
from sipagent.config.errors import ConfigError
from sipagent.config.identity import printable
from sipagent.languages.labels import N_
from sipagent.languages.spoken import shown

_FINDING: list[Column[Mismatch]] = [
    Column("where", lambda found: shown(found.where)),
    Column("problem", lambda found: shown(found.problem), wraps=True),
]
_COUNTED = (
    *(N_("chain"), N_("receipts"), N_("recordings"), N_("accesses"), N_("notes"), N_("sums")),
    *(N_("approvals"), N_("files")),
)
_NAMES = N_("names")
_LONG = 2000  # from this many of anything on, progress shows


@click.command("verify")
@click.option(
    "--head",
    "heads",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A copy of retention.head kept elsewhere; more than one may be given.",
)
@click.option("--deep", is_flag=True, help="Read objects too, whose hashes their store tells.")
@json_option
@click.pass_obj
@click.pass_context
def verify_command(
    ctx: click.Context, work: Workplace, /, *, heads: tuple[Path, ...], deep: bool, as_json: bool
) -> None:
    """Check the chain of all that was written, every row against it, every file, every time stamp.

    Finds what was changed, dropped, cut off, put back to an earlier state, or put there; names each in one
    line (exit 1 then). What was lost with a database, as the chain itself says since it was rebuilt, is shown
    apart. The agent may run meanwhile. Anyone who can rewrite the database can rewrite retention.head beside
    it: only a copy kept elsewhere, and time stamps, prove anything.

    \b
    Examples:
      sipagent verify
      sipagent verify --head /mnt/safe/retention.head --json
    """
    archive = _archive(work)
    with steps(_LONG) as step:
        found = verify(archive, step, heads=heads, deep=deep)
        stamps = _stamps(work, archive, found, step)
    if lacks_rows(work.config, archive.store):
        assert work.config.objects is not None
        said = Reason("has recordings, and no row tells of any: see `sipagent rebuild`")
        found.problems.append(Mismatch(work.config.objects.url, said))
    if as_json:
        print_json(_verified_json(found, stamps))
    else:
        _show(found, stamps, console())
    ctx.exit(1 if found.problems else 0)


def _archive(work: Workplace) -> Archive:
    """The archive. Raises Failure without a database: there is nothing to check, or all of it is gone."""
    database = work.config.database
    if is_there(work.config):
        return work.archive()
    if work.config.kept_places.head.exists() or has_metadata(spool_of(work.config)):
        said = _("{file} is missing, and what it held with it; see `sipagent rebuild`")
        raise Failure(said.format(file=database))
    raise Failure(_("{file}: there is no database yet, and nothing to verify").format(file=database))


def _stamps(work: Workplace, archive: Archive, found: Verified, step: Step) -> StampReport:
    """Check the stamps and add what is wrong to the rest; stamps of lost entries count with these."""
    report = verify_stamps(
        stamps_beside(archive.store),
        archive.store.hash_of,
        work.config.retention.timestamp_ca,
        lambda done, total: step(N_("stamps"), done, total),
    )
    for wrong in report.problems:
        seq = wrong.name.partition(".")[0]
        lost = seq.isdecimal() and any(int(seq) in gap for gap in found.gaps)
        (found.lost if lost else found.problems).append(
            Mismatch(Reason("stamp {name}", name=wrong.name), wrong.problem)
        )
    return report


def _verified_json(found: Verified, stamps: StampReport) -> Json:
    return {
        "problems": [{"where": wrong.where, "problem": wrong.problem} for wrong in found.problems],
        "lost": [{"where": lost.where, "problem": lost.problem} for lost in found.lost],
        "counts": {name: found.counts.get(name, 0) for name in _COUNTED} | {"stamps": stamps.good},
        "head": {"seq": found.head.seq, "hash": found.head.hash},
    }


def _show(found: Verified, stamps: StampReport, screen: Console) -> None:
    looked_at = [(gettext(name), figure(found.counts.get(name, 0))) for name in _COUNTED]
    looked_at += [
        (_("stamps"), figure(stamps.good)),
        (_("head"), figure(found.head.seq)),
        ("", found.head.hash),  # a line of its own: it fills one
    ]
    show_fields(looked_at, screen)
    if found.lost:
        title = _("Lost, as the chain says itself:")
        screen.print(f"\n{title}", style="bold yellow")
        show_table(found.lost, _FINDING, screen)
    if not found.problems:
        said = _("All of it is as it was written.")
        screen.print(f"\n{said}", style="green")
        return
    n = len(found.problems)
    title = ngettext("{n} problem:", "{n} problems:", n).format(n=n)
    screen.print(f"\n{title}", style="bold red")
    show_table(found.problems, _FINDING, screen)


StampRow = Stamped | StampProblem


@click.command("stamp")
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
            _list_stamps(work, _stamps_there(work), as_json)
        else:
            _stamp(work, as_json)
    except StampError as wrong:
        raise Failure(*wrong.args) from wrong


def _stamps_there(work: Workplace) -> list[StampRow]:
    """All stamps, also where the database of this host is gone."""
    if work.config.shared is None:
        return list(each_stamp(FolderStamps(work.config.places.stamps)))
    with store_of(work.config) as store:
        return list(each_stamp(stamps_beside(store)))


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
        print_json({"stamped": made is not None, "stamp": None if last is None else _stamp_json(last)})
    elif last is not None:
        new = _("stamped entry {seq}: {when}, {authority}")
        old = _("the head has not moved since the stamp of entry {seq}: {when}, {authority}")
        when, authority = full(work.local(last.at)), printable(last.authority)
        click.echo((new if made else old).format(seq=last.seq, when=when, authority=authority))


def _list_stamps(work: Workplace, rows: list[StampRow], as_json: bool) -> None:
    if as_json:
        print_json([_stamp_json(row) for row in rows])
        return
    columns: list[Column[StampRow]] = [
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


def _stamp_json(row: StampRow) -> Json:
    if isinstance(row, StampProblem):
        return {"file": row.name, "problem": row.problem}
    return {
        "file": row.path.name,
        "seq": row.seq,
        "hash": row.hash,
        "at": to_text(row.at),
        "authority": row.authority,
    }
