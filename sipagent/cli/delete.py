"""Deletes calls before their date: `delete`. Every attempt leaves a line in the trace."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path

import click

from retention.archive import Archive
from retention.erase import Deletion
from sipagent.cli.options import agree, caller_option, calls_of, one_of_the_two, show_calls, yes_option
from sipagent.cli.program import (
    FILE,
    Failure,
    Workplace,
    attempt,
    json_option,
    meant,
    new_file,
    now,
    optional_id_argument,
    print_json,
    words,
)
from sipagent.config.identity import printable
from sipagent.languages.spoken import colon, shown
from sipagent.operations.persons import Stays, delete_calls
from sipagent.text.papers import certificate

_PAGE = "\f"  # between two certificates: each on a separate page


@click.command("delete")
@optional_id_argument
@caller_option
@click.option(
    "--reason",
    required=True,
    type=words,
    metavar="R",
    help="Why, e.g. the reference of the person's request.",
)
@click.option("--by", required=True, type=words, metavar="WHO", help="Your name.")
@click.option(
    "--certificate", "paper", type=FILE, metavar="FILE", help="Write the certificate there too; a new file."
)
@yes_option
@json_option
@click.pass_obj
def delete_command(
    work: Workplace,
    /,
    id: str | None,
    *,
    caller: str | None,
    reason: str,
    by: str,
    paper: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget a call before its time: its recording, what leads to a person in its receipt, its analyses.

    Prints a certificate for the person who asked: what, when, by whom, what stays, the hash of a deleted
    file, and where the chain says so. It names the exported copies that remain to be deleted. What is on
    hold stays.

    With --caller all calls of a person are forgotten, each with a page of its own in the certificate; they
    are shown before, and you are asked. What is on hold or in progress stays, and the exit code is 1 then.

    \b
    Examples:
      sipagent delete 20261124T222000123-482913 --reason "request 2026-118" --by "M. Durand"
      sipagent delete 482913 --reason "request 2026-118" --by "M. Durand"
          --certificate request-2026-118.txt
      sipagent delete --caller "06 12 34 56 78" --reason "request 2026-118" --by "M. Durand"
    """
    one_of_the_two(id, caller)
    archive = work.archive(make=True)
    asked = attempt("delete", by=by, detail=reason)
    with _paper(work, paper) as keep:
        ids = _of_caller(work, archive, caller, yes=yes) if caller else [meant(archive, str(id))]
        done: list[Deletion] = []
        papers: list[str] = []
        stays: list[str] = []
        for one in delete_calls(archive, ids, asked, now):
            if isinstance(one, Stays):
                stays.append(f"{one.id}{colon()}{shown(one.why)}")
                continue
            done.append(one)
            paper_of = certificate(one, work.config.service)
            if len(done) == 1:
                work.tell_followed()
            if not as_json:
                click.echo((_PAGE if len(done) > 1 else "") + paper_of, nl=False)
            papers.append(paper_of)
        if as_json and done:
            told = [one.to_json() for one in done]
            print_json(told if id is None else told[0])
        if done:  # last: if the file fails, it has been printed
            keep(_PAGE.join(papers))
    if stays:
        raise Failure("; ".join(stays))


def _of_caller(work: Workplace, archive: Archive, caller: str, *, yes: bool) -> list[str]:
    """The caller's ids, after the question. Raises click.UsageError, Failure."""
    calls = calls_of(work, archive, caller)
    if not yes:
        show_calls(work, archive, calls)
    count = len(calls)
    asked = ngettext("Forget {n} call of {caller} for ever?", "Forget {n} calls of {caller} for ever?", count)
    agree(asked.format(n=count, caller=printable(caller)), yes=yes)
    return [call.id for call in calls]


@contextmanager
def _paper(work: Workplace, path: Path | None) -> Iterator[Callable[[str], None]]:
    """A function that writes the certificate; an error in its file shows before anything is deleted."""
    if path is None:
        yield lambda text: None
        return
    target = path.absolute()
    if os.path.lexists(target):
        raise Failure(_("{file} exists; accepted: the name of a new file").format(file=path))
    if target.parent.resolve() == work.config.recording.directory.resolve():
        said = _("{file} is among the recordings; the certificate goes elsewhere")
        raise Failure(said.format(file=path))
    with new_file(target, replace=False) as (descriptor, name):

        def keep(text: str) -> None:
            with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
                file.write(text)
            name()

        yield keep
