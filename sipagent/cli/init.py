"""`init`: write a configuration, by questions, by a file of answers, or with the examples."""

import sys
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sipagent.cli.options import given_passphrase, key_advice, new_passphrase_options

if TYPE_CHECKING:
    from sipagent.cli.init_directory import Answers, Place

SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)


@click.command("init")
@click.argument("directory", default=".", type=click.Path(path_type=Path, file_okay=False), metavar="[DIR]")
@click.option(
    "--answers",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Ask nothing: a TOML file with the keys of config.toml, - for stdin.",
)
@new_passphrase_options
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
    # slow to import
    from sipagent.cli.init_directory import PAIR, init, no_answers, place_of, read_answers, refuse_what_exists
    from sipagent.cli.init_questions import ask

    place, private = place_of(directory), directory / f"{PAIR}.key"
    refuse_what_exists(directory)
    passphrase = given_passphrase(passphrase_file, no_passphrase)
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


def _say_what_is_left(place: "Place", told: "Answers", private: Path) -> None:
    """What to do next; the most important thing last."""
    from sipagent.cli.init_directory import TEMPLATE
    from sipagent.config.rules import SHIPPED_EXAMPLES

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
        click.secho(key_advice(private), bold=True)
    if not told.tables["service"].keys() & SHIPPED_EXAMPLES.keys():
        keys = ", ".join(f"service.{key}" for key in SHIPPED_EXAMPLES)
        said = _("{path}: {keys} are examples: replace them before a network can call.")
        click.secho(said.format(path=config, keys=keys), bold=True)


def next_steps(place: "Place", config: Path) -> str:
    """The commands that come next; in an installation as the user of the service."""
    from sipagent.cli.program import SERVICE

    first, second = f"sipagent --config {config} check", f"sipagent --config {config} run"
    if place.state:
        ours = f"runuser -u {SERVICE} -- " if place.service else ""
        first, second = f"{ours}sipagent check", f"{ours}sipagent run"
        if SYSTEMD.is_dir():
            second = f"systemctl enable --now {SERVICE}"
    return _("Next: {first}, then {second}").format(first=first, second=second)
