"""`edge`: Kamailio's configuration, for those who run their own."""

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sipagent.cli.base import Workplace
from sipagent.cli.setup.agent import engine_facts

if TYPE_CHECKING:
    from sipagent.edge.plan import Plan


@click.command("edge", short_help="Print the configuration of Kamailio.")
@click.option(
    "--write",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write it there, with the lists that it reads, in place of printing it.",
)
@click.pass_obj
def edge_command(work: Workplace, directory: Path | None) -> None:
    """Print the configuration of the Kamailio that stands in front of the agent.

    It reads lists of workers and of sources, and keeps the dialogs in progress, in the folder `edge` beside
    the database, or in DIR. Files in DIR are replaced; its dialogs, and the key that hides addresses, stay.

    \b
    Examples:
      sipagent edge | less
      sipagent edge --write /etc/kamailio/sipagent
      kamailio -f /etc/kamailio/sipagent/kamailio.cfg
    """
    from sipagent.edge.configuration import Secrets, configuration
    from sipagent.edge.files import kept_tokens, places, write_files
    from sipagent.edge.hop import HopTokens

    plan = _plan(work)
    if directory is None:
        where = places(work.config.places.edge)
        known = Secrets(mask="made-when-written", tokens=HopTokens("0" * 32))
        click.echo(configuration(plan, known, where), nl=False)
        return
    where = places(directory)
    tokens = kept_tokens(places(work.config.places.edge))
    write_files(plan, where, active=range(plan.workers), tokens=tokens)
    for path in (where.configuration, where.workers, where.sources, where.tls, where.dialogs):
        click.echo(_("wrote {file}").format(file=path))


def _plan(work: Workplace) -> "Plan":
    """The edge's plan; the engine's legs decide how many workers there are."""
    config = work.config
    from sipagent.agent.admission import allowed_sources
    from sipagent.edge.addresses import addresses
    from sipagent.edge.plan import plan

    return plan(config, engine_facts().limits, addresses(config, allowed_sources(config)))
