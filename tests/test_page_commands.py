"""The commands that the pages print: each is one that there is, and those that can be run here are run."""

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from retention.records import new_id
from sipagent.cli.main import cli
from sipagent.cli.program import translated
from tests.office import Office
from tests.sealing import make_sealed_office, sealed_call
from tests.test_docs import DOCUMENTS, prose, text_of
from tests.test_structure import name

PREFIX = re.compile(r"^(?:sudo (?:-u sipagent )?|runuser -u sipagent -- )?(?=sipagent )")
FOLDERS_OF = {"DIR", "DOSSIER", "BACKUP", "SAUVEGARDE"}
RUN = ("retention", "conservation", "keys", "cles", "data-protection-officer", "delegue-protection-donnees")
"""Pages whose commands need nothing but what is kept."""
ASKED_FOR = {"keys new": ["--no-passphrase"]}
"""What a terminal would be asked."""


@dataclass(frozen=True)
class Printed:
    """A command line of a page, as words after `sipagent`."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{Path(self.page).stem}: {' '.join(self.words)[:60]}"


def blocks(text: str) -> Iterator[str]:
    """Lines that are printed as commands: fenced as sh, or indented."""
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield from block.splitlines()
    yield from re.findall(r"^    (\S.*)$", prose(text), re.MULTILINE)


def spans(text: str) -> Iterator[str]:
    """What is quoted as a whole command within a sentence or a table: nothing is left out of it."""
    for span in re.findall(r"`([^`]+)`", prose(text)):
        if PREFIX.match(span) and re.search(r" [a-z]", span) and not re.search(r"…| COMMANDE? | - ", span):
            yield span


def printed(page: str, lines: Iterable[str]) -> Iterator[Printed]:
    """Its commands of ours, one for each that is joined to others."""
    for line in lines:
        for part in re.split(r" && | \| ", line):
            if PREFIX.match(command := part.strip()):
                yield Printed(page, tuple(shlex.split(PREFIX.sub("", command), comments=True)[1:]))


PAGES = [page for page in map(name, DOCUMENTS) if not page.startswith("sipagent/")]  # no templates
LINES = [line for page in PAGES for line in printed(page, blocks(text_of(page)))]
QUOTED = [line for page in PAGES for line in printed(page, spans(text_of(page)))]


def leaf(words: tuple[str, ...]) -> tuple[click.Command, list[str]]:
    """The command that the words mean, and the rest of them, without options of the program.

    A copy: click keeps the option `--help` that it makes, in the language of that moment.
    """
    rest = [*words]
    while rest and rest[0].startswith("-"):
        del rest[: 1 + (rest[0] == "--config")]
    command: click.Command | None = cli.commands[rest.pop(0)]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        _, command, rest = command.resolve_command(click.Context(command), rest)
    assert command is not None
    return translated(command), rest


@pytest.mark.parametrize("line", [*LINES, *QUOTED], ids=str)
def test_a_printed_command_is_one_that_there_is(
    line: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the options that it has, or no more of it than its name."""
    monkeypatch.chdir(tmp_path)
    command, rest = leaf(line.words)
    if not rest and line in QUOTED:
        return  # it is spoken of
    rest = [word.replace("/var/", f"{tmp_path}/") for word in rest]
    for word in rest:
        if word.startswith(str(tmp_path)):
            Path(word).mkdir(parents=True)
        elif not word.startswith(("-", "/")) and "://" not in word:
            (tmp_path / word).parent.mkdir(exist_ok=True)
            (tmp_path / word).mkdir() if word in FOLDERS_OF else (tmp_path / word).touch()
    command.make_context("sipagent", rest)


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    """With one recording, of this hour, and the key of who may listen."""
    office = make_sealed_office(tmp_path, capsys)
    sealed_call(office, id=f"{new_id(datetime.now(UTC))[:-6]}482913")
    monkeypatch.chdir(tmp_path)
    return office


@pytest.mark.parametrize("page", [page for page in PAGES if Path(page).stem in RUN])
def test_the_commands_of_a_page_work_as_printed(page: str, office: Office) -> None:
    """One after the other, on a new service."""
    for line in LINES:
        if line.page == page:
            words = [word.replace("/media/usb/", f"{office.folder}/keys/") for word in line.words]
            words = [word.replace("/etc/sipagent/", f"{office.folder}/") for word in words]
            words = ["482913" if word == "ID" else word for word in words]
            assert office.run(*words, *ASKED_FOR.get(" ".join(words[:2]), [])).code == 0, words
