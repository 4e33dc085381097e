"""Who can listen: `keys new`, `keys list`, `keys rotate`.

Recordings are sealed to the public keys in `recording.recipients`. An identity opens them. It is made
here and must then leave the machine: the agent needs none. `keys rotate` seals what is sealed again, to
the recipients in the present configuration.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path

import click

from retention.archive import Archive, Rotation, rotate
from retention.records import Json
from retention.texts import Reason
from retention.vault import Identity, KeysError, PublicKey, read_public
from sipagent.check.keys import PrivateKey, private_keys
from sipagent.cli import options, program
from sipagent.cli.terminal import Column, console, show_table, steps_of
from sipagent.languages.labels import N_
from sipagent.languages.spoken import shown


@click.group("keys", cls=program.Program)
def keys_group() -> None:
    """Make, list and rotate the keys that recordings are sealed with.

    The agent needs public keys alone (recording.recipients); an identity opens recordings, and belongs on the
    machine of the person who listens.

    \b
    Examples:
      sipagent keys new
      sipagent keys list
      sipagent keys rotate --identity /media/usb/recordings.key
    """


@keys_group.command("new", short_help="Make a key pair.")
@click.argument("stem", required=False, type=program.FILE, metavar="[STEM]")
@click.option("--comment", metavar="C", help="Whose key it is; absent: its name and this machine's.")
@options.new_passphrase_options
@click.pass_obj
def new_command(
    work: program.Workplace,
    /,
    stem: Path | None,
    *,
    comment: str | None,
    passphrase_file: Path | None,
    no_passphrase: bool,
) -> None:
    """Make a key pair: STEM.pub to seal with, STEM.key to open with. Replaces nothing.

    Without STEM it is keys/recordings beside the configuration. You are asked for its passphrase.

    \b
    Examples:
      sipagent keys new
      sipagent keys new /media/usb/durand --comment "M. Durand"
    """
    from sipagent.cli.init import PAIR, make_pair  # slow to import

    where = work.folder / PAIR if stem is None else stem
    if where.suffix in (".pub", ".key"):
        where = where.with_suffix("")
    for path in (Path(f"{where}.pub"), Path(f"{where}.key")):
        if path.exists():
            said = _("{file}: exists, and a key is never overwritten").format(file=path)
            raise program.Failure(said)  # before the question
    passphrase = options.new_passphrase(Path(f"{where}.key"), passphrase_file, no_passphrase)
    public, private = make_pair(where, passphrase, comment)
    for path in (public, private):
        click.echo(_("wrote {file}").format(file=path))
    what_next = _("Next: name {file} in recording.recipients.").format(file=public)
    click.echo(f"{what_next} {options.key_advice(private)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A line of `keys list`: a recipient, or only a private key on this machine; null for what does not
    apply."""

    key: PublicKey | None = None
    path: Path | None = None
    problem: str | None = None
    private: PrivateKey | None = None  # where it is on this machine
    recordings: int = 0  # how many it can open


@keys_group.command("list", short_help="Who can listen, and to how much.")
@program.json_option
@click.pass_obj
def list_command(work: program.Workplace, as_json: bool) -> None:
    """List those who can listen: the recipients of new recordings, those of old ones, and keys that lie here.

    Tells how many recordings each can open, and whether its private key lies on this machine.

    \b
    Examples:
      sipagent keys list
      sipagent keys list --json
    """
    rows = list(_recipients(work))
    if as_json:
        program.print_json([_json(work, row) for row in rows])
        return
    screen = console()
    if not rows:
        screen.print(_("No recipients: recordings are stored in clear."))
        return
    columns: list[Column[Recipient]] = [
        Column("fingerprint", lambda row: row.key.id if row.key else None),
        Column("comment", lambda row: row.key.comment if row.key else None, shrinks=True),
        Column("public key", lambda row: _shown(work, row.path) or _("not a recipient"), shrinks=True),
        Column("opens", lambda row: str(row.recordings), right=True),
        Column("private key", lambda row: _private(work, row), wraps=True),
    ]
    if any(row.problem for row in rows):
        columns.append(Column("problem", lambda row: row.problem, wraps=True))
    show_table(rows, columns, screen)


def _recipients(work: program.Workplace) -> Iterator[Recipient]:
    """The configured ones first, then those only of old recordings, then other private keys."""
    lying = private_keys(work.config)
    here = {key.public: key for key in lying if key.public}
    counts = _counts(work.archive())

    def recipient(key: PublicKey, path: Path | None) -> Recipient:
        return Recipient(key=key, path=path, private=here.get(key), recordings=counts.get(key, 0))

    named = set()
    for path in work.config.recording.recipients:
        try:
            key = read_public(path)
        except KeysError as error:
            yield Recipient(path=path, problem=shown(error))
            continue
        named.add(key)
        yield recipient(key, path)
    for key in dict.fromkeys((*counts, *here)):
        if key not in named:
            yield recipient(key, None)
    yield from (Recipient(private=key) for key in lying if key.public is None)


def _counts(archive: Archive) -> dict[PublicKey, int]:
    """How many recordings each can open."""
    counts: dict[PublicKey, int] = {}
    for id in archive.vault.ids():
        try:
            recipients = archive.vault.recipients(id)
        except KeysError:
            continue  # purged meanwhile, or damaged: `check` and `rotate` report it
        for key in recipients:
            counts[key] = counts.get(key, 0) + 1
    return counts


def _private(work: program.Workplace, row: Recipient) -> str | None:
    if row.private is None:
        return _("elsewhere") if row.key else None
    said = _("here: {file}") if row.private.protected else _("here: {file}, no passphrase")
    return said.format(file=_shown(work, row.private.path))


def _json(work: program.Workplace, row: Recipient) -> Json:
    return {
        "fingerprint": row.key and row.key.id,
        "comment": row.key and row.key.comment,
        "path": _shown(work, row.path),
        "configured": row.path is not None,
        "recordings": row.recordings,
        "private_key": row.private and _shown(work, row.private.path),
        "protected": row.private and row.private.protected,
        "problem": row.problem,
    }


def _shown(work: program.Workplace, path: Path | None) -> str | None:
    """The path, relative to the configuration if below it."""
    return None if path is None else work.config.named(path)


_SHOWN = 20  # how many failures to show; more have one reason


@keys_group.command("rotate", short_help="Seal all recordings to the recipients of now.")
@options.identity_option(required=True)
@options.passphrase_option
@program.by_option
@program.json_option
@click.pass_obj
def rotate_command(
    work: program.Workplace, /, *, identity: Path, passphrase_file: Path | None, by: str | None, as_json: bool
) -> int:
    """Seal every recording to the recipients that the configuration names now, in place of those it was for.

    First add new listeners to recording.recipients, remove old ones, and restart the agent; then call this.
    It needs a private key that can open the recordings. A former recipient can no longer listen, except to
    copies of recording and key that were made before. If it is interrupted, call it again.

    \b
    Example:
      sipagent keys rotate --identity /media/usb/recordings.key --by "M. Durand"
    """
    recipients = _named(work)
    opener = options.unlock(identity, passphrase_file)
    done = _rotate(work, opener, recipients, by)
    if as_json:
        program.print_json(
            {
                "recipients": [key.id for key in recipients],
                "sealed": list(done.sealed),
                "already": done.already,
                "failed": [{"id": id, "problem": problem} for id, problem in done.failed],
            }
        )
    else:
        _show(done, _names(recipients))
    return int(bool(done.failed))


def _named(work: program.Workplace) -> list[PublicKey]:
    """The recipients of the configuration. Raises Failure, KeysError."""
    keys = dict.fromkeys(read_public(path) for path in work.config.recording.recipients)
    if not keys:
        raise program.Failure(_("recording.recipients is empty: there is nobody to seal to"))
    return list(keys)


def _rotate(
    work: program.Workplace, opener: Identity, recipients: list[PublicKey], by: str | None
) -> Rotation:
    """Rotate, with a line in the trace before, and one for the result."""
    archive = work.archive(make=True)
    trace = program.attempt("rotate", by=by)
    begun = Reason("begun with {0}, to be for {1}", opener.public, _names(recipients))
    archive.store.add_access(replace(trace, detail=begun))
    with steps_of(N_("sealing")) as step:
        done = rotate(archive, opener, recipients, step)
    counts = f"{len(done.sealed)} sealed anew, {done.already} were so already, {len(done.failed)} failed"
    outcome = "failed" if done.failed else "done"
    ended = f"{counts}; for {_names(recipients)}"
    archive.store.add_access(replace(trace, at=program.now(), outcome=outcome, detail=ended))
    return done


def _names(recipients: list[PublicKey]) -> str:
    return ", ".join(map(str, recipients))


def _show(done: Rotation, names: str) -> None:
    screen = console()
    n = len(done.sealed)
    said = ngettext("{n} recording sealed anew, for {names}.", "{n} recordings sealed anew, for {names}.", n)
    screen.print(said.format(n=n, names=names))
    if done.already:
        said = ngettext("{n} already so.", "{n} already so.", done.already)
        screen.print(said.format(n=done.already))
    if done.failed:
        title = _("Left as they were:")
        screen.print(f"\n{title}", style="bold red")
        columns: list[Column[tuple[str, str]]] = [
            Column("id", lambda failed: failed[0]),
            Column("problem", lambda failed: shown(failed[1]), wraps=True),
        ]
        show_table(done.failed[:_SHOWN], columns, screen)
        if len(done.failed) > _SHOWN:
            rest = len(done.failed) - _SHOWN
            said = ngettext("and {n} more; --json names all", "and {n} more; --json names all", rest)
            screen.print(said.format(n=rest))
