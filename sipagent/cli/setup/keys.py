"""Who can listen: `keys new`, `keys list`, `keys rotate`.

Recordings are sealed to the public keys in `recording.recipients`. An identity opens them. It is made here
and must then leave the machine: the agent needs none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path

import click

from retention.archive.archive import Archive
from retention.recording import Json
from retention.storage.keys import KeysError, PublicKey, read_public
from sipagent.check.keys import PrivateKey, private_keys
from sipagent.cli.base import Failure, Program, Workplace, json_option, print_json
from sipagent.cli.passphrase import leaving, new_passphrase, new_passphrase_options
from sipagent.cli.tables import Column, console, show_table
from sipagent.languages.reason import shown


@click.group("keys", cls=Program, short_help="Who can listen: make, list and rotate keys.")
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
@click.argument("stem", required=False, type=click.Path(path_type=Path, dir_okay=False), metavar="[STEM]")
@click.option("--comment", metavar="C", help="Whose key it is; absent: its name and this machine's.")
@new_passphrase_options
@click.pass_obj
def new_command(
    work: Workplace,
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
    from sipagent.cli.init.answers import PAIR  # slow to import
    from sipagent.cli.init.directory import make_pair

    where = work.folder / PAIR if stem is None else stem
    if where.suffix in (".pub", ".key"):
        where = where.with_suffix("")
    for path in (Path(f"{where}.pub"), Path(f"{where}.key")):
        if path.exists():
            said = _("{file}: exists, and a key is never overwritten").format(file=path)
            raise Failure(said)  # before the question
    passphrase = new_passphrase(Path(f"{where}.key"), passphrase_file, no_passphrase)
    try:
        public, private = make_pair(where, passphrase, comment)
    except KeysError as error:
        raise Failure(*error.args) from error
    for path in (public, private):
        click.echo(_("wrote {file}").format(file=path))
    what_next = _("Next: name {file} in recording.recipients.").format(file=public)
    click.echo(f"{what_next} {leaving(private)}")


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
@json_option
@click.pass_obj
def list_command(work: Workplace, as_json: bool) -> None:
    """List those who can listen: the recipients of new recordings, those of old ones, and keys that lie here.

    Tells how many recordings each can open, and whether its private key lies on this machine.

    \b
    Examples:
      sipagent keys list
      sipagent keys list --json
    """
    rows = list(_recipients(work))
    if as_json:
        print_json([_json(work, row) for row in rows])
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


def _recipients(work: Workplace) -> Iterator[Recipient]:
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


def _private(work: Workplace, row: Recipient) -> str | None:
    if row.private is None:
        return _("elsewhere") if row.key else None
    said = _("here: {file}") if row.private.protected else _("here: {file}, no passphrase")
    return said.format(file=_shown(work, row.private.path))


def _json(work: Workplace, row: Recipient) -> Json:
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


def _shown(work: Workplace, path: Path | None) -> str | None:
    """The path, relative to the configuration if below it."""
    base = work.config.base
    return None if path is None else str(path.relative_to(base) if path.is_relative_to(base) else path)
