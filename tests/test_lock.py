"""What is shipped is named by version and hash, and is what pyproject.toml asks for."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "deploy" / "requirements.lock"


def locked() -> dict[str, list[Requirement]]:
    """By name: a version for each range of interpreters."""
    found: dict[str, list[Requirement]] = {}
    for line in LOCK.read_text().splitlines():
        if line and not line.startswith(("#", " ")):
            one = Requirement(line.rstrip("\\ "))
            found.setdefault(canonicalize_name(one.name), []).append(one)
    return found


def asked() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"]]


def pin(one: Requirement) -> str:
    (only,) = one.specifier
    assert only.operator == "==", one
    return only.version


def test_each_is_pinned_with_hashes_and_no_host_is_named() -> None:
    text = LOCK.read_text()
    assert "://" not in text
    blocks = re.split(r"\n(?=\S)", text.strip())[1:]
    assert len(blocks) > 30
    for block in blocks:
        assert re.search(r"==\S+", block) and "--hash=sha256:" in block, block.splitlines()[0]


def test_what_the_project_asks_for_is_there() -> None:
    there = locked()
    for wanted in asked():
        pins = [pin(one) for one in there[canonicalize_name(wanted.name)]]
        assert all(wanted.specifier.contains(one) for one in pins), wanted


def test_what_runs_here_is_what_is_locked() -> None:
    for name, pins in locked().items():
        here = [pin(one) for one in pins if one.marker is None or one.marker.evaluate()]
        assert here == [] or version(name) in here, name
