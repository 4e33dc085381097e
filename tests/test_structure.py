"""The shape of the project: who may import whom, how long a module may be, what may lie in the tree."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from retention.sqlite import Store
from tests.each import each

ROOT = Path(__file__).parent.parent
OURS = ("sipagent", "media", "retention", "prompts", "tests")
SHIPPED = ("sipagent", "media", "retention", "prompts")
ROOMS: dict[str, set[str]] = {  # each folder of sipagent, and which others its modules may name
    "call": set(),
    "config": set(),
    "languages": set(),
    "softphone": set(),
    "edge": {"call", "config"},
    "sip": {"call", "config", "edge"},
    "voice": {"config"},
    "text": {"config", "languages"},
    "agent": {"call", "config", "edge", "voice"},
    "pjsip": {"agent", "call", "config", "edge", "sip"},
    "enrol": {"agent", "call", "config", "edge"},
    "operations": {"agent", "config", "edge", "enrol", "languages", "text"},
    "service": {"agent", "call", "config", "edge", "enrol", "pjsip", "text", "voice"},
    "check": {"agent", "config", "edge", "enrol", "service", "text", "voice"},
    "web": {"agent", "call", "config", "languages", "operations", "text"},
}
INNER: dict[str, dict[str, set[str]]] = {  # each of their folders, and which others it may name
    "media": {"hearing": set(), "recording": set()},
    "retention": {"rows": set(), "postgres": {"rows"}, "objects": {"rows"}, "accounts": {"postgres", "rows"}},
}
LADDER = (  # modules and folders of retention: each names those before it alone
    *("texts", "records", "files", "rows", "marks", "recording_files", "vault"),  # values, bytes, rows
    *("sqlite", "postgres", "objects", "accounts"),  # what keeps them
    *("archive", "clock", "reserve", "shortfall", "statistics", "post", "stamps", "merkle"),
    *("use", "erase", "roots", "signed", "holds", "outbox", "verify", "rebuild", "purge"),
    *("backup", "move", "journal", "shipping"),
)
VALUES = {"collections", "dataclasses", "enum", "typing"}
REMOVING = {
    *("retention/files.py", "retention/recording_files.py", "retention/marks.py"),
    # what is in the store by now, what was not gathered whole
    *("retention/objects/object_files.py", "retention/objects/uploads.py"),
    *("media/recording/assemble.py", "media/recording/tap.py"),  # a part in the spool
    "sipagent/enrol/keeping.py",  # what colleagues have lent, and the heads that learnt from it
    "retention/vault.py",  # half a pair
    "retention/postgres/row_keys.py",  # keys of rows
    "retention/backup.py",  # what was not finished
    "retention/move.py",  # the note of an earlier move, the turn of a copy
    "sipagent/cli/init.py",  # what was begun
    *("sipagent/cli/program.py", "sipagent/operations/register.py"),  # what was not finished
    *(
        "sipagent/edge/certificates.py",
        "sipagent/edge/files.py",
        "sipagent/edge/rpc.py",
        "sipagent/service/children.py",
    ),
}
DATABASE = {"sqlite3", "sqlite_utils", "psycopg"}
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|PRAGMA|BEGIN)\s+\w")
MACHINE = re.compile(rb"(?<![\w.<])/(?:(?:root|work|Users)/\w|tmp/\w+/)")


def modules(*folders: str) -> list[Path]:
    """All below these folders."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


ALL = modules(*SHIPPED)


@pytest.fixture(scope="module", autouse=True)
def _forgotten() -> Iterator[None]:
    """What is read for all tests here is let go after them: 130 MB."""
    yield
    tree.cache_clear()


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports(path: Path) -> Iterator[str]:
    """Every module that is imported, wherever in the file; of `from x import y` both `x` and `x.y`."""
    for node in tree(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{name(path)}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in imports(path)}


def tracked() -> list[Path]:
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for part in listed.split("\0") if part and (path := ROOT / part).is_file()]


@each(["media", "retention", "prompts"])
def test_inner_packages_import_nothing_of_ours_but_themselves(package: str) -> None:
    for path in modules(package):
        if "training" not in path.parts:  # which makes heads, and is needed for nothing else
            assert packages(path) & set(OURS) <= {package}, name(path)


@each(INNER)
def test_a_folder_of_an_inner_package_names_those_below_it_alone(package: str) -> None:
    there = {one.parent.name for one in (ROOT / package).glob("*/__init__.py")}
    assert there - {"training"} == set(INNER[package])  # which makes heads of what hears
    for folder, below in INNER[package].items():
        for path in modules(f"{package}/{folder}"):
            named = {module.split(".")[1] for module in imports(path) if module.startswith(f"{package}.")}
            assert named & there <= below | {folder}, name(path)


def test_each_part_of_what_is_kept_names_those_before_it_alone() -> None:
    there = {one.stem for one in (ROOT / "retention").iterdir() if one.suffix == ".py" or one.is_dir()}
    assert there >= {*LADDER}
    for at, part in enumerate(LADDER):
        for path in modules(f"retention/{part}") or [ROOT / f"retention/{part}.py"]:
            named = {module.split(".")[1] for module in imports(path) if module.startswith("retention.")}
            assert named <= {*LADDER[: at + 1]}, name(path)


def test_who_imports_the_tests_and_the_engine_library() -> None:
    assert not [name(path) for path in ALL if "tests" in packages(path)]
    users = {path for path in ALL if packages(path) & {"pjsua2", "_pjsua2"}}
    assert users and all(path.is_relative_to(ROOT / "sipagent/pjsip") for path in users)


def test_the_engine_is_known_by_its_protocol() -> None:
    """Whoever decides or drives never names the one there is; what puts the parts together does."""
    users = {
        name(path)
        for path in modules("sipagent")
        if room(path) != "pjsip" and any(module.startswith("sipagent.pjsip") for module in imports(path))
    }
    assert {path.removeprefix("sipagent/") for path in users} == {
        *("service/one_process.py", "cli/agent.py", "cli/enrol.py"),
        *(f"service/{one}.py" for one in ("worker", "registrar", "preload")),
    }


def room(path: Path) -> str:
    """The folder of sipagent that a module lies in; empty for those beside the folders."""
    parts = path.relative_to(ROOT / "sipagent").parts if path.is_relative_to(ROOT / "sipagent") else ()
    return parts[0] if len(parts) > 1 else ""


def rooms_named(path: Path) -> set[str]:
    ours = [module.split(".") for module in imports(path) if module.startswith("sipagent.")]
    return {module[1] for module in ours} & set(ROOMS) | {"cli" for module in ours if module[1] == "cli"}


@each(modules("sipagent"), ids=name)
def test_a_room_names_those_below_it_alone(path: Path) -> None:
    """What may not be named cannot be leant on; so there is no circle between rooms."""
    here = room(path)
    if here not in ("", "cli"):  # which put all together
        assert rooms_named(path) - {here} <= ROOMS[here]


def test_the_rooms_are_those_that_there_are() -> None:
    there = {one.name for one in (ROOT / "sipagent").iterdir() if (one / "__init__.py").exists()}
    assert there == {*ROOMS, "cli"}
    order = list(ROOMS)
    assert all(order.index(below) < order.index(one) for one in ROOMS for below in ROOMS[one])


def test_a_class_name_has_one_meaning() -> None:
    """Over all that is shipped, classes within classes and functions included."""
    named = Counter(node.name for path in ALL for node in tree(path) if isinstance(node, ast.ClassDef))
    assert [one for one, times in named.items() if times > 1] == []


def test_no_modules_import_one_another() -> None:
    """In whatever steps, and be it for types alone: so each can be read after those that it names."""
    known = {name(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in ALL}
    left = {path: {*imported(path, known)} for path in ALL}
    while free := [path for path, named in left.items() if not named & left.keys()]:
        for path in free:
            del left[path]
    assert sorted(map(name, left)) == []


def imported(path: Path, known: Mapping[str, Path]) -> Iterator[Path]:
    """The modules of ours that one names, also for types alone; a package where no module of it is meant."""
    for node in tree(path):
        if isinstance(node, ast.Import):
            wanted = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            wanted = {f"{node.module}.{alias.name}" for alias in node.names} & set(known) or {node.module}
        else:
            continue
        yield from (known[one] for one in wanted if one in known and known[one] != path)


@each(sorted({path.parent for path in ALL}), ids=name)
def test_each_folder_says_what_lives_there(folder: Path) -> None:
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))


@each([*modules("sipagent/call"), ROOT / "sipagent/enrol/flow.py"], ids=name)
def test_the_policy_is_pure(path: Path) -> None:
    """It knows its own parts and plain values of the standard library: no clock, no thread, no socket."""
    parts = {imported for imported in imports(path) if imported.startswith("sipagent.")}
    assert all(part.startswith("sipagent.call") for part in parts)
    assert not parts or path.stem != "events"
    assert packages(path) - {"sipagent"} <= VALUES


# --- what is kept, and where ---


def sources(path: Path, kind: type[ast.expr]) -> Iterator[ast.expr]:
    return (node for node in tree(path) if isinstance(node, kind))


def test_files_are_removed_where_they_are_kept() -> None:
    calls = re.compile(r"(^|\.)(unlink|rmtree|rmdir)$|^os\.remove$")
    users = {
        name(path)
        for path in ALL
        for node in sources(path, ast.Call)
        if isinstance(node, ast.Call) and calls.search(ast.unparse(node.func))
    }
    assert users == REMOVING


def test_the_database_is_spoken_to_in_one_package() -> None:
    for path in modules("sipagent", "sipagent/pjsip", "media", "media/training", "prompts"):
        spoken = packages(path) & DATABASE
        assert not spoken or (name(path), spoken) == ("sipagent/config/tables.py", {"psycopg"})
        texts = (node.value for node in sources(path, ast.Constant) if isinstance(node, ast.Constant))
        assert not [text for text in texts if isinstance(text, str) and SQL.match(text)], name(path)


def test_the_wheel_carries_every_package_and_all_that_lies_in_one() -> None:
    """But for what is read here alone: pages for developers, and catalogues before they are compiled."""
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {name(path.parent) for path in ALL}
    assert {package.replace(".", "/") for package in setup["packages"]} == folders
    there = {name(path.parent) for path in tracked() if path.name == "__init__.py"}
    assert {folder for folder in there if folder.partition("/")[0] != "tests"} == folders
    carried = {
        path
        for package, patterns in setup["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    ours = {package.partition(".")[0] for package in setup["packages"]}
    data = {path for path in tracked() if path.relative_to(ROOT).parts[0] in ours and path.suffix != ".py"}
    assert {path.suffix for path in data - carried} == {".md", ".po"}


def test_no_file_names_a_place_on_the_machine_it_was_written_on() -> None:
    found = {name(path): MACHINE.search(path.read_bytes()) for path in tracked()}
    assert {path: match[0] for path, match in found.items() if match} == {}


UNNEEDED = {"boto3", "holidays", "media.frame", "numpy", "psycopg", "soundfile", "sqlite_utils", "webrtcvad"}
FOR_NOTHING = {
    *("nacl", "phonenumbers", "pydantic", "retention.records", "rich", "sipagent.cli.list", "sqlite3")
}


def test_one_host_loads_nothing_for_several() -> None:
    """They take half a second and 40 MB."""
    starts = "import sys, sipagent.cli.main, sipagent.service.one_process, sipagent.service.supervision"
    loaded = f"{starts}, sipagent.web.app; print({{'psycopg', 'boto3', 'botocore'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("words", "unneeded", "lived_in"),
    [
        ("--version", UNNEEDED | FOR_NOTHING, False),
        ("--help", UNNEEDED | FOR_NOTHING, True),
        ("list", UNNEEDED, True),
        ("list", UNNEEDED, False),
    ],
)
def test_a_command_loads_only_what_it_needs(
    tmp_path: Path, words: str, unneeded: set[str], lived_in: bool
) -> None:
    """`numpy` alone takes a tenth of a second."""
    shutil.copy(ROOT / "config.toml", tmp_path)
    if lived_in:
        Store(tmp_path / "retention.db").close()
    run = (
        "import atexit, sys, sipagent.__main__ as program\n"
        f"atexit.register(lambda: print(sorted({unneeded} & set(sys.modules)), file=sys.stderr))\n"
        f"program.main(['--config', 'config.toml', '{words}'])"
    )
    command = [sys.executable, "-c", run]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout and done.stderr == "[]\n"


# --- what is there has its place ---


def test_nothing_is_there_for_tests_alone() -> None:
    """Each function is named twice by what is shipped; of the telephone both `demo` and tests have use."""
    shipped = [path.read_text(encoding="utf-8") for path in (*ALL, *(ROOT / "sipagent").rglob("*.html"))]
    named = Counter(word for text in shipped for word in re.findall(r"\w+", text))
    tried = {
        word for path in modules("tests") for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))
    }
    once = {
        f"{name(path)}: {node.name}"
        for path in ALL
        if room(path) != "softphone"
        for node in tree(path)
        if isinstance(node, ast.FunctionDef) and not node.decorator_list and node.name[:2] != "__"
        if named[node.name] == 1 and node.name in tried
    }
    assert once == {"sipagent/service/metrics.py: log_message"}  # the standard library calls it
