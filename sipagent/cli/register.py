"""What the configuration says on paper: the register's entry (`register`), a page for operators (`sheet`)."""

from gettext import gettext as _
from gettext import ngettext
from pathlib import Path
from typing import Literal

import click

from sipagent.cli.program import FILE, Failure, Workplace, json_option, print_json, why_not_written
from sipagent.config.identity import printable
from sipagent.operations.register import (
    Comparison,
    FileWanted,
    compare,
    present_entry,
    write,
    write_text_whole,
)
from sipagent.text import LANGUAGES, language_of_papers
from sipagent.text.register import RegisterEntry
from sipagent.text.register_file import Difference, markdown

_SHOWN = 4000  # characters of a statement; notices are the longest

Format = Literal["md", "json"]


@click.command("register")
@click.option("--format", "format_", type=click.Choice(["md", "json"]), help="Markdown (default) or JSON.")
@click.option("--lang", type=click.Choice(list(LANGUAGES)), help="Of Markdown; default: the service's.")
@click.option("--out", type=FILE, metavar="FILE", help="Write it there, or renew the entry in FILE.")
@click.option("--force", is_flag=True, help="Replace FILE, whatever it holds.")
@click.option("--check", type=FILE, metavar="FILE", help="Exit 1 where FILE is not what it should say now.")
@click.option("--strict", is_flag=True, help="With --check: exit 1 also where something is to be completed.")
@json_option
@click.pass_obj
def register_command(
    work: Workplace,
    /,
    *,
    format_: Format | None,
    lang: str | None,
    out: Path | None,
    force: bool,
    check: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Write what the register of processing activities must say, from the live configuration.

    Controller, purposes, legal basis, persons and data, recipients, periods, rights, and the security
    measures that are really configured. What the configuration lacks is marked, and named on stderr.

    In a longer register, the entry stands between two comments; --out renews what is between them, --check
    compares it, and the rest of FILE is yours.

    \b
    Examples:
      sipagent register --lang fr --out register.md
      sipagent register --check register.md
    """
    _refuse(
        (
            check is not None and bool(out or lang or format_),
            _("--check knows format and language by FILE, and writes nothing"),
        ),
        (strict and check is None, _("--strict goes with --check")),
        (force and out is None, _("--force goes with --out")),
        (as_json and format_ == "md", _("--json and --format md exclude each other")),
        (
            lang is not None and (as_json or format_ == "json"),
            _("--lang goes with Markdown; JSON is the same in every language"),
        ),
    )
    made = present_entry(work.config)
    if check is not None:
        _tell(made, compare(made, check), strict=strict, as_json=as_json)
        return
    if made.to_complete:
        click.echo(f"sipagent: {_to_complete(made)}", err=True)
    language = lang or language_of_papers(work.config.service.language)
    format_ = "json" if as_json else format_
    if out is not None:
        write(made, FileWanted(path=out, format=format_, language=lang, default=language, force=force))
        click.echo(f"{out}")
    elif format_ == "json":
        print_json(made.to_json())
    else:
        click.echo(markdown(made, language), nl=False)


@click.command("sheet")
@click.option("--lang", type=click.Choice(list(LANGUAGES)), help="Of the page; default: the service's.")
@click.option("--out", type=FILE, metavar="FILE", required=True, help="Write it there, as HTML.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.pass_obj
def sheet_command(work: Workplace, /, *, lang: str | None, out: Path, force: bool) -> None:
    """Write one page of A4 for operators: what their phones show, which keys they have, what to answer.

    Keys, names and numbers are those of the configuration. Print it from a browser.

    \b
    Examples:
      sipagent sheet --out operators.html
      sipagent sheet --lang en --out operators.en.html
    """
    from sipagent.text.papers import sheet

    if why := why_not_written(out, force):
        raise Failure(why)
    write_text_whole(out, sheet(work.config, lang or language_of_papers(work.config.service.language)))
    click.echo(_("wrote {file}").format(file=out))


def _refuse(*mixtures: tuple[bool, str]) -> None:
    """Raise UsageError for the first option given."""
    for there, why in mixtures:
        if there:
            raise click.UsageError(why)


def _to_complete(made: RegisterEntry) -> str:
    said = _("to be completed in the configuration: {keys}")
    return said.format(keys=", ".join(made.to_complete))


def _tell(made: RegisterEntry, found: Comparison, *, strict: bool, as_json: bool) -> None:
    """Tell where the file differs. Raises Failure if it does, or if something is missing for `strict`."""
    file, n = found.file, len(found.differences)
    if as_json:
        print_json(found.to_json())
    else:
        for one in found.differences:
            _show(file, one)
    if n:
        said = ngettext(
            "{file}: differs from the configuration in {n} statement; "
            "`sipagent register --out {file}` renews it",
            "{file}: differs from the configuration in {n} statements; "
            "`sipagent register --out {file}` renews it",
            n,
        )
        raise Failure(said.format(file=file, n=n))
    if made.to_complete and strict:
        raise Failure(_to_complete(made))
    if made.to_complete:
        click.echo(f"sipagent: {_to_complete(made)}", err=True)
    if not as_json:
        click.echo(_("{file}: agrees with the configuration").format(file=file))


def _show(file: str, one: Difference) -> None:
    """Show a difference: `-` the file, `+` what it should say."""
    keys = f" ({', '.join(one.keys)})" if one.keys else ""
    click.echo(f"{file}, {one.where}{keys}:")
    for sign, text in (("-", one.file), ("+", one.now)):
        if text is not None:
            click.echo(f"  {sign} {printable(text, _SHOWN)}")
