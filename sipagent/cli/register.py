"""The entry for the register of processing activities: `register`."""

from gettext import gettext as _
from gettext import ngettext
from pathlib import Path
from typing import Literal

import click

from media.prompt import PromptError
from retention.vault import KeysError, read_public
from sipagent.cli.program import Failure, Workplace, json_option, print_json
from sipagent.config.identity import printable
from sipagent.config.load import Config
from sipagent.languages.spoken import shown
from sipagent.text.notice import spoken_notices
from sipagent.text.register import RegisterEntry, entry
from sipagent.text.register_file import Difference, RegisterError, Written, differences, read, renewed
from sipagent.text.template import LANGUAGES

_SHOWN = 4000  # characters of a statement; notices are the longest
SIZE_LIMIT = 16 << 20  # bytes of a file to compare; even a register with many entries is shorter

Format = Literal["md", "json"]
File = click.Path(path_type=Path, dir_okay=False)


@click.command("register")
@click.option("--format", "format_", type=click.Choice(["md", "json"]), help="Markdown (default) or JSON.")
@click.option("--lang", type=click.Choice(list(LANGUAGES)), help="Of Markdown; default: the service's.")
@click.option("--out", type=File, metavar="FILE", help="Write it there, or renew the entry in FILE.")
@click.option("--force", is_flag=True, help="Replace FILE, whatever it holds.")
@click.option("--check", type=File, metavar="FILE", help="Exit 1 where FILE is not what it should say now.")
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
    made = _entry(work.config)
    if check is not None:
        _check(made, check, strict=strict, as_json=as_json)
        return
    if made.to_complete:
        click.echo(f"sipagent: {_to_complete(made)}", err=True)
    default = work.config.service.language
    language = default if default in LANGUAGES else "en"
    if as_json:
        format_ = "json"
    if out is not None:
        _write(made, out, format_, lang, language, force=force)
    elif format_ == "json":
        print_json(made.to_json())
    else:
        click.echo(renewed(None, made, lang or language), nl=False)


def _refuse(*mixtures: tuple[bool, str]) -> None:
    """Raise UsageError for the first option given."""
    for there, why in mixtures:
        if there:
            raise click.UsageError(why)


def _entry(config: Config) -> RegisterEntry:
    """The entry by the configuration, with the keys and notices that it names. Raises Failure."""
    try:
        recipients = [read_public(path) for path in config.recording.recipients]
        return entry(config, recipients, spoken_notices(config))
    except (KeysError, PromptError) as wrong:
        raise Failure(*wrong.args) from wrong


def _to_complete(made: RegisterEntry) -> str:
    said = _("to be completed in the configuration: {keys}")
    return said.format(keys=", ".join(made.to_complete))


# --- writing ---


def _write(
    made: RegisterEntry, out: Path, format_: Format | None, lang: str | None, default: str, *, force: bool
) -> None:
    """Write the entry into a new file, or replace the file's entry. Raises Failure, OSError."""
    there = None if force or not out.exists() else _there(out)
    if format_ is None:
        as_json = there.language is None if there else out.suffix.lower() == ".json"
        format_ = "json" if as_json and lang is None else "md"
    if there is not None and (there.language is None) != (format_ == "json"):
        raise Failure(_("{file}: is of the other format; --force replaces it").format(file=out))
    language = None if format_ == "json" else lang or (there and there.language) or default
    _replace(out, renewed(there, made, language))
    click.echo(f"{out}")


def _there(out: Path) -> Written:
    try:
        return _read(out)
    except RegisterError as wrong:
        said = _("{file}: exists, and {why}; --force replaces it")
        raise Failure(said.format(file=out, why=shown(wrong))) from wrong


def _replace(path: Path, text: str) -> None:
    """Write the whole file or nothing."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> Written:
    """Raises RegisterError, OSError."""
    with path.open("rb") as file:
        content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise RegisterError(_("is too long for a register"))
    try:
        return read(content.decode())
    except UnicodeDecodeError as error:
        raise RegisterError(_("is not UTF-8 text")) from error


# --- comparing ---


def _check(made: RegisterEntry, path: Path, *, strict: bool, as_json: bool) -> None:
    """Tell where the file differs. Raises Failure if it does, or if something is missing for `strict`."""
    try:
        written = _read(path)
    except RegisterError as wrong:
        raise Failure("{0}: {1}", path, wrong) from wrong
    found = differences(written, made)
    if as_json:
        print_json(
            {
                "file": str(path),
                "format": "json" if written.language is None else "md",
                "language": written.language,
                "current": not found,
                "differences": [_json(one) for one in found],
                "to_complete": list(made.to_complete),
            }
        )
    else:
        for one in found:
            _show(path, one)
    if found:
        said = ngettext(
            "{file}: differs from the configuration in {n} statement; "
            "`sipagent register --out {file}` renews it",
            "{file}: differs from the configuration in {n} statements; "
            "`sipagent register --out {file}` renews it",
            len(found),
        )
        raise Failure(said.format(file=path, n=len(found)))
    if made.to_complete and strict:
        raise Failure(_to_complete(made))
    if made.to_complete:
        click.echo(f"sipagent: {_to_complete(made)}", err=True)
    if not as_json:
        click.echo(_("{file}: agrees with the configuration").format(file=path))


def _json(one: Difference) -> dict[str, object]:
    return {"where": one.where, "keys": list(one.keys), "file": one.file, "now": one.now}


def _show(path: Path, one: Difference) -> None:
    """Show a difference: `-` the file, `+` what it should say."""
    keys = f" ({', '.join(one.keys)})" if one.keys else ""
    click.echo(f"{path}, {one.where}{keys}:")
    for sign, text in (("-", one.file), ("+", one.now)):
        if text is not None:
            click.echo(f"  {sign} {printable(text, _SHOWN)}")
