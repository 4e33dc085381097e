"""Write the manual from what the commands say of themselves: `manual.py FOLDER VERSION EPOCH LANGUAGE`.

One page for the program, one for each command: `sipagent.1`, `sipagent-list.1`, `sipagent-keys-new.1`.
EPOCH is in seconds, and dates the pages. LANGUAGE is `en` or `fr`.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from sipagent.cli.main import cli
from sipagent.cli.program import translated
from sipagent.languages.choice import speaking

PROGRAM = "sipagent"
_FILES = {
    "en": {
        "/etc/sipagent/config.toml": "the configuration, if no other is named or lies in the current folder",
        "/var/lib/sipagent": "recordings, the database and what goes with it",
        "/usr/share/doc/sipagent": "the documents",
    },
    "fr": {
        "/etc/sipagent/config.toml": "la configuration, sauf si une autre est nommée ou se trouve ici",
        "/var/lib/sipagent": "les enregistrements, la base de données et ce qui l’accompagne",
        "/usr/share/doc/sipagent": "les documents",
    },
}
# as man's own pages have them in each language
_HEADINGS = {
    "NAME": "NOM",
    "COMMANDS": "COMMANDES",
    "EXAMPLES": "EXEMPLES",
    "FILES": "FICHIERS",
    "SEE ALSO": "VOIR AUSSI",
    "User Commands": "Commandes",
}


def main(folder: Path, version: str, epoch: int, language: str) -> None:
    """Write all pages."""
    headings = _HEADINGS if language == "fr" else {}
    folder.mkdir(parents=True, exist_ok=True)
    date = datetime.fromtimestamp(epoch, UTC).date().isoformat()
    with speaking(language):
        for context in contexts(click.Context(translated(cli), info_name=PROGRAM)):
            name = context.command_path.replace(" ", "-")
            section = headings.get("User Commands", "User Commands")
            lines = [f'.TH "{name.upper()}" "1" "{date}" "{PROGRAM} {version}" "{section}"']
            for line in page(context, _FILES[language]):
                begun = line.removeprefix(".SH ")
                lines.append(f".SH {headings.get(begun, begun)}" if begun != line else line)
            (folder / f"{name}.1").write_text("\n".join(lines) + "\n", encoding="utf-8")


def contexts(context: click.Context) -> Iterator[click.Context]:
    """The command's own, then those of all below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name, command in context.command.commands.items():
            if not command.hidden:
                yield from contexts(click.Context(translated(command), info_name=name, parent=context))


def page(context: click.Context, files: dict[str, str]) -> Iterator[str]:
    """The lines of one page below its title."""
    command = context.command
    name = context.command_path.replace(" ", "-")
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (".SH NAME", f"{_plain(name)} \\- {_plain(command.get_short_help_str(200).rstrip('.'))}")
    yield from (".SH SYNOPSIS", f".B {_plain(context.command_path)}", _plain(usage))
    described, examples = _parted(inspect.cleandoc(command.help or ""))
    yield from (".SH DESCRIPTION", *described)
    options = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
    if options:
        yield ".SH OPTIONS"
        for names, text in options:
            yield from (".TP", f".B {_plain(names)}", _plain(" ".join(text.split())))
    below = [*contexts(context)][1:]
    if below:
        yield ".SH COMMANDS"
        for one in below:
            if one.parent is context:
                short = one.command.get_short_help_str(200)
                yield from (".TP", f".BR {_page_of(one)}", _plain(short))
    if examples:
        yield from (".SH EXAMPLES", *examples)
    if context.parent is None:
        yield ".SH FILES"
        for path, text in files.items():
            yield from (".TP", f".I {_plain(path)}", _plain(text))
    else:
        yield from (".SH SEE ALSO", f".BR {_page_of(context.parent)}")


def _page_of(context: click.Context) -> str:
    return f"{_plain(context.command_path.replace(' ', '-'))} (1)"


def _parted(text: str) -> tuple[list[str], list[str]]:
    """A command's help as lines of its description and of its examples."""
    described: list[str] = []
    examples: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        verbatim = paragraph.startswith("\b")
        lines = paragraph.lstrip("\b\n").splitlines()
        if verbatim and re.match(r"Examples?:|Exemples?\s:", lines[0]):
            examples += [
                ".EX",
                *(_plain(line) for line in inspect.cleandoc("\n".join(lines[1:])).splitlines()),
                ".EE",
            ]
        elif verbatim:
            described += [".PP", ".EX", *(_plain(line) for line in lines), ".EE"]
        else:
            described += [".PP", _plain(" ".join(lines))]
    return described, examples


def _plain(text: str) -> str:
    """Without anything that troff would take for its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{text}" if text.startswith(".") else text


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
