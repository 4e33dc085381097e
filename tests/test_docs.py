"""The documents say what is: commands, keys, links, versions and the drawn call flow."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from media.recording import chunks
from retention.outbox import EventType
from sipagent import __version__
from sipagent.call.machines import Decision
from sipagent.call.state import Phase
from sipagent.config.load import load
from sipagent.config.model import Config
from sipagent.languages.typography import set_french
from tests import draw_callflow
from tests.configured import init_examples
from tests.each import each
from tests.test_structure import ALL, ROOMS, modules, name, tracked

ROOT = Path(__file__).parent.parent
DOCUMENTS = [path for path in tracked() if path.suffix == ".md" and path.parent.name != "cards"]
PAGES = ["README.md", *sorted(name(path) for path in DOCUMENTS if name(path).startswith("docs/"))]
"""What users read: no module of ours is named there as `package.module`, so that is a key or a file."""
FOLDERS = {"en": "docs/en/", "fr": "docs/fr/"}
"""Of the pages of each language. What is in docs/ itself is for developers, in English."""
TWIN = re.compile(r"En français : \[[\w-]+\.md\]\((\S+)\)|In English: \[[\w-]+\.md\]\((\S+)\)", re.IGNORECASE)
OFFICERS = ("docs/en/data-protection-officer.md", "docs/fr/delegue-protection-donnees.md")
LOGS = ("docs/en/troubleshooting.md", "docs/fr/depannage.md")
PLAIN = (
    *("ARCHITECTURE.md", "SECURITY.md", "docs/edge.md", "docs/several-hosts.md"),
    *("sipagent/call/README.md", "sipagent/pjsip/README.md"),
)
"""Pages whose lines are no longer than those of the code."""
OF_INIT = {"recording.new_key", "recording.passphrase_file", "trunk.password"}
"""What a file of answers has beside the keys of the configuration."""
BESIDE = re.compile(r"retention\.([\w-]+\.)?(db|head|seed|reserve|moved)")
"""Files whose names look like keys."""


def text_of(file: str | Path) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def targets() -> list[str]:
    """What `make help` is to tell."""
    return re.findall(r"^([a-z-]+):.* ## ", text_of("Makefile"), re.MULTILINE)


def keys(table: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every key of the configuration, as `table.key`."""
    for key, field in table.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        inner = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        yield from keys(inner, f"{above}{key}.") if inner else [f"{above}{key}"]


def twin_of(page: str) -> str:
    """The page that says the same in the other language, as this one names it before its first heading."""
    if not (named := TWIN.search(text_of(page).replace("\u00a0", " ").partition("\n## ")[0])):
        raise AssertionError(f"{page} names no page in the other language")
    return name(((ROOT / page).parent / (named[1] or named[2])).resolve())


IN_ENGLISH = ["SECURITY.md", *(page for page in PAGES if page.startswith(FOLDERS["en"]))]
BOTH = [(page, twin_of(page)) for page in IN_ENGLISH]
"""Pages that there are in English and in French."""
KEYS = set(keys(Config))
TABLES = {key.rpartition(".")[0] for key in KEYS}


def prose(text: str) -> str:
    """Without what is fenced: a comment there is no heading, and a bracket no link."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def titles(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)


def anchors(text: str) -> set[str]:
    """What a `#` in a link may name: headings, in small letters with hyphens."""
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles(text)}


def links(document: Path) -> Iterator[str]:
    """Where its links lead that stay in the project."""
    text = prose(text_of(document))
    inline = re.findall(r"\]\(([^)\s]+)\)", text)
    defined = re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    yield from (target for target in (*inline, *defined) if not re.match(r"https?://", target))


# --- make ---


def test_every_make_command_of_the_documents_exists_and_is_in_its_help() -> None:
    texts = map(text_of, DOCUMENTS)
    told = {one for text in texts for one in re.findall(r"(?:^[$ ]+|`)make ([a-z-]+)", text, re.MULTILINE)}
    assert {"demo", "run", "test", "bench"} <= told <= set(targets())
    command = ["make", "--no-print-directory", "help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in said.splitlines()] == targets()
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    run = re.findall(r"\bmake ([\w-]+)", text_of(".ci/run"))
    assert run[:2] == ["test", "test-all"] and all(f"`make {one}`" in text_of("README.md") for one in run[:2])
    assert run[2:] == ["engine", "test", "attack"]  # with a source of the larger engine


class Machine:
    """A folder to make in, on a machine that has no Python of ours, and whose `uv` does as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._programs = folder, folder / "programs"
        for needed in ("pyproject.toml", "deploy/requirements.lock", "programs/none"):
            (folder / needed).parent.mkdir(exist_ok=True)
            (folder / needed).touch()
        for program in ("sh", "sed", "grep", "cut", "rm", "mktemp", "id", "cat", "make", "cc"):
            (self._programs / program).symlink_to(shutil.which(program) or "")
        self.program("python3", "exit 1")  # one that is too new

    def program(self, name: str, script: str) -> Path:
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), "run", *words]
        there = {"PATH": str(self._programs), "TMPDIR": str(self.folder)}
        return subprocess.run(
            command, cwd=self.folder, env=there, capture_output=True, text=True, check=False
        )


def test_make_has_uv_bring_a_python_where_there_is_none_or_says_so_in_one_line(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    made = machine.make("PYTHON=no-such-python")
    ours, _ = made.stderr.splitlines()  # the other line is make's own
    assert ours.startswith("no Python 3.11 or 3.12 among no-such-python; accepted: ")
    machine.program("uv", "echo 'error: no network' >&2; echo '  Caused by: more' >&2; exit 2")
    made = machine.make()
    ours, _ = made.stderr.splitlines()
    assert "and uv brings none (error: no network); accepted: these two, as in make PYTHON=" in ours
    assert made.returncode == 2 and not (tmp_path / ".venv").exists()
    brought = machine.program(
        "brought", f'[ "$1" = -m ] && echo "asked for $*" && exit 7\nexec {sys.executable} "$@"'
    )
    machine.program("uv", f'echo "$UV_PYTHON_INSTALL_DIR: $*" >>asked\n[ "$2" != find ] || echo {brought}')
    made = machine.make()
    assert "uv brings one into .python" in made.stdout and "asked for -m venv .venv" in made.stdout
    assert (tmp_path / "asked").read_text().splitlines() == [
        f"{tmp_path}/.python: python install --no-progress --no-bin 3.12",
        f"{tmp_path}/.python: python find --managed-python 3.12",
    ]


# --- configuration ---


def test_every_key_is_explained_in_the_shipped_configuration() -> None:
    """In its own table, commented out or not."""
    parts = re.split(r"^(?:# )?\[+([\w.]+)\]", text_of("config.toml"), flags=re.MULTILINE)
    tables = dict(zip(parts[1::2], parts[2::2], strict=True))
    unexplained = {
        f"{table}.{key}"
        for table, _, key in (key.rpartition(".") for key in KEYS)
        if not re.search(rf"\b{key} = ", tables.get(table, ""))
        and not re.search(rf"# or {key}\b", tables.get(table, ""))
    }
    assert unexplained == set()


@each([*PAGES, "media/README.md"])
def test_the_pages_name_only_keys_that_exist(page: str) -> None:
    tables = {key.partition(".")[0] for key in KEYS}
    told = {key for key in re.findall(r"`(\w+\.[\w.-]+)", text_of(page)) if not BESIDE.fullmatch(key)}
    assert {key for key in told if key.partition(".")[0] in tables} <= KEYS | TABLES | OF_INIT | {*EventType}


def examples(page: str) -> list[str]:
    """The pieces of configuration that it shows."""
    return re.findall(r"```toml\n(.*?)```", text_of(page), re.DOTALL)


@each(PAGES)
def test_the_examples_of_the_pages_are_configurations(page: str) -> None:
    for example in examples(page):
        told = {f"{table}.{key}" for table, inner in tomllib.loads(example).items() for key in inner}
        assert told <= KEYS | TABLES | {"prompts.en"} | OF_INIT


def test_the_configuration_of_the_readme_is_whole(tmp_path: Path) -> None:
    """With the folder that `init` makes around it, and nothing else."""
    (example,) = examples("README.md")
    init_examples(tmp_path, None)
    (tmp_path / "config.toml").write_text(example, encoding="utf-8")
    config = load(tmp_path / "config.toml")
    assert config.recording.share < 1 and config.recording.recipients and config.trunk.allowed_sources


# --- links and names ---


@each(DOCUMENTS, ids=name)
def test_links_and_files_that_are_named_exist(document: Path) -> None:
    text = text_of(document)
    for target in links(document):
        path, _, anchor = target.partition("#")
        there = document.parent / path if path else document
        assert there.exists(), target
        assert not anchor or anchor in anchors(text_of(there)), target
    named = re.findall(r"`((?:sipagent|media|retention|prompts|tests|docs)/[\w./]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", text, re.MULTILINE)  # of a merge
    told = titles(text)  # a link to the second of one name would lead to the first; a changelog repeats them
    assert document.name == "CHANGELOG.md" or [title for title in set(told) if told.count(title) > 1] == []


def test_every_document_is_found_from_the_readme() -> None:
    found, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        document = todo.pop().resolve()
        if document not in found and document.suffix == ".md":
            found.add(document)
            todo += [document.parent / path for link in links(document) if (path := link.partition("#")[0])]
    assert [name(document) for document in DOCUMENTS if document not in found] == []


@each([path for path in tracked() if path.suffix in (".py", ".toml", ".cfg")], ids=name)
def test_a_document_that_the_code_points_at_exists(path: Path) -> None:
    pointed = re.findall(
        r"(?:[\w-]+/)*\b(?:README|ARCHITECTURE|SECURITY|CHANGELOG|FORMATS)\.md(?:#[\w-]+)?", text_of(path)
    )
    pointed += re.findall(
        r"\b(?:docs|media|prompts|retention|sipagent|tests)/[\w/-]+\.md(?:#[\w-]+)?", text_of(path)
    )
    for target in pointed:
        file, _, anchor = target.partition("#")
        there = [folder / file for folder in (ROOT, path.parent) if (folder / file).exists()]
        assert there and (not anchor or anchor in anchors(text_of(there[0]))), target


def test_the_layers_name_every_part_and_each_imports_from_those_below_it() -> None:
    layers = text_of("ARCHITECTURE.md").split("```")[1]
    parts = [path.stem for path in modules("sipagent/call") if path.stem != "__init__"]
    assert [part for part in (*parts, *ROOMS) if not re.search(rf"\b{part}\b", layers)] == []
    line = {
        room: at for at, text in enumerate(layers.splitlines()) for room in re.findall(r"\b(\w+)/", text[:27])
    }
    assert all(line[room] < line[below] for room, others in ROOMS.items() for below in others)
    assert line["cli"] == min(line.values()) and line["media"] == line["retention"] == max(line.values())


def test_every_thread_is_in_the_table() -> None:
    ours = [path for path in ALL if not {"softphone", "demo.py"} & {*path.parts}]
    started = {
        thread
        for path in ours
        for thread in re.findall(r'(?:Thread\(.*name=|Worker\()"([\w-]+)"', text_of(path))
    }
    assert started >= {"listener", "recorder", "assembler", "tap-writer", "purge"}
    assert [thread for thread in started if f"| `{thread}` |" not in text_of("ARCHITECTURE.md")] == []


# --- lengths, and both languages ---


def test_pages_are_short() -> None:
    """All that stands in them counts; but the tables of commands and of the log's lines are looked up, not
    read."""
    words = {page: len(text_of(page).split()) for page in ("README.md", "ARCHITECTURE.md", *OFFICERS)}
    most = dict.fromkeys(OFFICERS, 1800)  # ten minutes, at 180 words a minute
    assert {page: n for page, n in words.items() if n > ({"README.md": 1200} | most).get(page, 1800)} == {}
    lines = {page: len(text_of(page).splitlines()) for page in ("README.md", "ARCHITECTURE.md")}
    assert lines["README.md"] <= 130 and lines["ARCHITECTURE.md"] <= 180
    for page in (one for pair in BOTH for one in pair):
        read = [line for line in text_of(page).splitlines() if not line.startswith("| `")]
        assert len(" ".join(read).split()) <= 1700, page
    for page in PLAIN:  # no line is longer than one of the code, but of a table
        said = prose(text_of(page)).splitlines()
        assert [line for line in said if len(line) > 120 and not line.lstrip().startswith("|")] == [], page


def told(page: str) -> set[str]:
    """What is the same in any language: commands, options, keys, files, figures, events."""
    spans = re.findall(r"`([^`]+)`", prose(text_of(page)))
    commands = {f"sipagent {word}" for span in spans for word in re.findall(r"^sipagent ([a-z-]+)", span)}
    options = {option for span in spans for option in re.findall(r"(?<!\S)--[a-z-]+", span)}
    return commands | options | {span for span in spans if re.fullmatch(r"[a-z]\w+(\.[\w.-]+)?/?", span)}


def test_every_page_has_a_twin_and_french_is_set_as_french() -> None:
    """Its twin names it back. No line ends before a colon or within quotation marks."""
    french = {page for page in PAGES if page.startswith(FOLDERS["fr"])}
    assert {twin for _, twin in BOTH} == french
    assert [page for page, twin in BOTH if twin_of(twin) != page] == []
    for page in french:
        lines = [line for line in prose(text_of(page)).splitlines() if not line.startswith("    ")]
        assert [line for line in lines if set_french(line) != line] == [], page


@each(BOTH)
def test_both_languages_tell_of_the_same(pages: tuple[str, str]) -> None:
    """What is copied is the same, but for comments, and what people call themselves or their files."""
    english, french = pages
    assert told(english) == told(french)
    assert len(titles(text_of(english))) == len(titles(text_of(french)))
    rows = [re.findall(r"^\|", text_of(page), re.MULTILINE) for page in (english, french)]
    assert len(rows[0]) == len(rows[1])
    copied = [
        [re.sub(r" *# .*|^; (?!/).*\n", "", block, flags=re.MULTILINE) for block in fenced]
        for page in pages
        if (fenced := re.findall(r"```\w+\n(.*?)```", text_of(page), re.DOTALL)) is not None
    ]
    assert copied[0] == copied[1]


def log_lines(page: str) -> list[tuple[str, ...]]:
    """What the first column of the table of log lines quotes."""
    rows = re.findall(r"^\| (`(?:alert|[a-z]+(?:_[a-z]+)*)`(?:, `[^`]+`)?) \|", text_of(page), re.MULTILINE)
    return [tuple(re.findall(r"`([^`]+)`", row)) for row in rows]


def test_the_log_lines_that_are_explained_are_those_that_are_written() -> None:
    assert log_lines(LOGS[0]) == log_lines(LOGS[1])
    assert len(log_lines(LOGS[0])) >= 20
    written = re.sub(r'"\s+f?"', "", "\n".join(text_of(path) for path in ALL))
    for event, *reason in log_lines(LOGS[0]):
        assert f'"{event}"' in written, event
        for said in reason:
            constant = max(re.split(r"…|worker-3|\(signal 6\)|\d+|^[\w.]+:", said), key=len).strip()
            assert constant in written, said


LOUD = re.compile(r'\blog\.(?:warning|error|exception|critical)\(\s*"(\w+)"')
SERVING = [path for path in ALL if not {"cli", "softphone", "demo.py", "training"} & {*name(path).split("/")}]


def test_every_warning_and_error_is_explained() -> None:
    logged = {event for path in SERVING for event in LOUD.findall(text_of(path).replace("_log.", "log."))}
    assert logged >= {"alert", "registration_failed", "edge_dropped", "reload_refused", "copy_remains"}
    for page in LOGS:
        told = re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^\| `.*", text_of(page), re.MULTILINE)))
        assert logged - {*told} == set(), page


# --- what is drawn and copied ---


@pytest.fixture(scope="module")
def drawing() -> str:
    return draw_callflow.draw()


def test_the_drawn_call_flow_is_the_one_there_is(drawing: str) -> None:
    """After a change of the policy: python -m tests.draw_callflow --write"""
    document = text_of(draw_callflow.DOCUMENT)
    assert document.count(f"{draw_callflow.BEGIN}\n{drawing}{draw_callflow.END}\n") == 1


def test_every_phase_and_decision_is_reached_by_the_drawing(drawing: str) -> None:
    assert [place for place in (*Phase, *Decision) if not re.search(rf"\b{place}\b", drawing)] == []


def test_the_table_of_the_chunk_is_its_format() -> None:
    table = re.findall(r"^\| (\d+) \| (\d+|length) \| (\w+)", text_of("retention/FORMATS.md"), re.MULTILINE)
    told = re.findall(r"^ +(\d+) +(\d+|length) +(\w+)", chunks.__doc__ or "", re.MULTILINE)
    assert len(told) == 12
    assert table == told


# --- versions ---


def test_the_changelog_tells_of_this_version() -> None:
    """Keep a Changelog: what is not released yet, then versions with their dates, the newest first."""
    coming, newest, *_ = re.findall(r"^## (.*)", text_of("CHANGELOG.md"), re.MULTILINE)
    version, _, day = newest.partition(" - ")
    assert (coming, version) == ("[Unreleased]", f"[{__version__}]") and date.fromisoformat(day)
    assert __version__ == tomllib.loads(text_of("pyproject.toml"))["project"]["version"]


def test_the_licence_is_the_one_that_is_named() -> None:
    named = tomllib.loads(text_of("pyproject.toml"))["project"]["license"]
    assert named == "GPL-3.0-or-later"
    assert named in text_of("README.md")
    assert re.match(r"\s+GNU GENERAL PUBLIC LICENSE\s+Version 3,", text_of("LICENSE"))
