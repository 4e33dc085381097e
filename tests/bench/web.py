"""`python -m tests.bench.web`: the page, measured with the real `sipagent web`, by HTTP and a real Chromium.

Lists out of a million recordings, the first sound of an hour, what a first visit weighs, and twenty listeners
beside fifty recorded calls. Each part makes what it needs, and leaves nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from retention.sqlite import Store
from retention.vault import new_pair, read_public
from sipagent.config.load import load
from tests.bench import report, web_crowd
from tests.bench.report import Row
from tests.bench.web_browser import Place, first_sounds, weights
from tests.bench.web_client import Client
from tests.bench.web_kept import fill_up, hours
from tests.bench.web_lists import in_library, of_interface, of_pages, timed
from tests.bench.web_site import address, enter, page, program
from tests.kept import archive_of
from tests.peers.agent import RunningAgent

CORES = 2
HOURS = 10  # recordings of an hour, each heard twice
OPERATOR = {"operators": {"extensions": ["sip:201@127.0.0.1:5070"]}}


def lists(folder: Path, count: int) -> list[Row]:
    """The newest 50, and 50 by each filter, out of `count`: in the library, by a program, by a person."""
    table = address()
    agent = RunningAgent(folder / "kept", {**OPERATOR, "web": table})
    with Store(agent.directory / "retention.db") as store:
        wanted = fill_up(store, count)
        rows = in_library(store, wanted, load(agent.config))
    with page(agent.config, table) as running:
        client = Client(running.port, program(agent))
        rows += timed("/api/v1/recordings", partial(of_interface, client), wanted, running.spent_s)
        client.close()
        person = enter(agent, running)
        client = Client(running.port, person.headers)
        rows += timed("/recordings", partial(of_pages, client, person.csrf), wanted, running.spent_s)
        client.close()
    return rows


def browser(folder: Path) -> list[Row]:
    """The first sound of an hour, and what a first visit weighs."""
    table = address()
    agent = RunningAgent(folder / "heard", {**OPERATOR, "web": table})
    public, identity = new_pair(folder / "listening", None, "bench")
    with Store(agent.directory / "retention.db") as store:
        archive = archive_of(store, agent.directory / "recordings", agent.directory)
        recordings = hours(archive, read_public(public), HOURS)
    with page(agent.config, table) as running:
        person = enter(agent, running, public)
        place = Place(f"http://127.0.0.1:{running.port}", person.cookies, identity)
        client = Client(running.port, {**person.headers, "Accept-Encoding": "gzip, deflate, br"})
        rows = weights(place, client, recordings[-1])
        client.close()
        return rows + first_sounds(place, recordings[:-1], agent.directory)


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Recordings in the lists.")
@click.option("--calls", default=50, show_default=True, help="Recorded calls beside the listeners.")
@click.option("--listeners", default=20, show_default=True, help="Who listen at once.")
@click.option("--seconds", default=60.0, show_default=True, help="For which they do; before, calls alone.")
@click.option("--only", type=click.Choice(["lists", "browser", "crowd"]), help="One part of it.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the million rows stay, for the next run.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def main(  # noqa: PLR0917 - click gives them by name
    rows: int,
    calls: int,
    listeners: int,
    seconds: float,
    only: str | None,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Measure the page; exit 1 where a target is missed. Ctrl-C ends all of it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # all that is started here, too
    parts: dict[str, Callable[[Path], list[Row]]] = {
        "lists": lambda folder: lists(directory or folder, rows),
        "browser": browser,
        "crowd": lambda folder: web_crowd.rows(web_crowd.measure(folder, calls, listeners, seconds)),
    }
    found: list[Row] = []
    for name, part in parts.items():
        if only in (None, name):
            with tempfile.TemporaryDirectory(prefix="sipagent-web-") as folder:
                found += part(Path(folder))
    sys.exit(report.show(found, as_json, "the page, measured on this machine"))


if __name__ == "__main__":
    main()
