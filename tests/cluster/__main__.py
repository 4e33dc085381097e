"""`python -m tests.cluster`: three hosts, and everything that can go wrong with them and what they share.

    python -m tests.cluster --rounds 500 [--seed 1] [--from 0] [--minutes 60] [--report FILE] [--keep FOLDER]

Each round is drawn from the seed and its number. One that went wrong is had again by `--from N --rounds 1`.
Rounds go on where they stood, on the same servers, until something is wrong, or for as many as `SITE_ROUNDS`.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from tests.cluster.rounds import Rounds, Tally
from tests.cluster.site import Site

SEARCH_EVERY = 10
SITE_ROUNDS = 50  # then all begins anew: what must be searched grows
RATHER_STOP = 20  # wrong things, after which more rounds tell nothing


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rounds: so many of a seed from the `first` on; none begins after so many minutes."""

    seed: int
    first: int
    count: int
    minutes: float


def play(folder: Path, wanted: Wanted, say: Callable[[str], object]) -> tuple[Rounds, int]:
    """The rounds until anything is wrong, and the number of the one after the last; `folder` is empty.

    Whatever goes wrong leaves all rows and logs there.
    """
    with ExitStack() as stack:
        site = Site(folder, stack)
        stack.callback(site.kill)
        site.start()
        rounds = Rounds(site, wanted.seed, say)
        until, end, number = time.monotonic() + wanted.minutes * 60, wanted.first + wanted.count, wanted.first
        try:
            while number < end and time.monotonic() < until and not rounds.tally.wrong:
                for one in rounds.run(number, search=(number + 1) % SEARCH_EVERY == 0):
                    say(f"  {one}")
                number += 1
            if early := rounds.tally.wrong.copy():
                site.leave_evidence()
            for one in rounds.finish():
                say(f"  {one}")
            if rounds.tally.wrong and not early:
                site.leave_evidence()
        except BaseException:
            site.leave_evidence()
            raise
        return rounds, number


def play_all(folder: Path, wanted: Wanted, say: Callable[[str], object]) -> tuple[Tally, int]:
    """All rounds, on one site after the other; only what went wrong stays in `folder`."""
    tally, number, end = Tally(), wanted.first, wanted.first + wanted.count
    until = time.monotonic() + wanted.minutes * 60
    while number < end and time.monotonic() < until and len(tally.wrong) < RATHER_STOP:
        place = folder / f"seed-{wanted.seed}-from-{number}"
        place.mkdir(parents=True)
        left = (until - time.monotonic()) / 60
        rounds, number = play(place, Wanted(wanted.seed, number, min(SITE_ROUNDS, end - number), left), say)
        tally = tally.plus(rounds.tally)
        if not rounds.tally.wrong:
            shutil.rmtree(place)
    return tally, number


@click.command()
@click.option("--rounds", "count", default=500, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--from", "first", default=0, show_default=True, help="The first round's number.")
@click.option("--minutes", default=120.0, show_default=True, help="No round begins after so long.")
@click.option("--report", type=click.Path(path_type=Path), help="Write what was found there, as JSON.")
@click.option("--keep", type=click.Path(path_type=Path), help="Leave there what went wrong.")
def main(  # noqa: PLR0917 - click gives them by name
    count: int, seed: int, first: int, minutes: float, report: Path | None, keep: Path | None
) -> None:
    """Play rounds; exit 1 where anything was wrong."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its hosts must not outlive it
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-cluster-")))
        tally, after = play_all(folder, Wanted(seed, first, count, minutes), click.echo)
    found = asdict(tally) | {"seed": seed, "from": first, "next": after}
    if report:
        report.write_text(json.dumps(found, indent=2))
    click.echo(json.dumps({name: value for name, value in found.items() if name != "wrong"}, indent=2))
    if after < first + count:
        click.echo(f"go on by --seed {seed} --from {after} --rounds {first + count - after}")
    sys.exit(1 if tally.wrong else 0)


if __name__ == "__main__":
    main()
