"""What is shipped: each package has a reason, a licence that the GPL allows, and its advisories looked at.

`make audit` asks pip-audit, which needs PyPI's list of advisories.
"""

import json
import re
import tomllib
from datetime import date
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "deploy/requirements.lock").read_text(encoding="utf-8")
LOCKED = [
    (name, Version(version)) for name, version in re.findall(r"^([a-z\d-]+)==(\S+)", LOCK, re.MULTILINE)
]
PACKAGES = sorted({name for name, _ in LOCKED})
ADVISORIES: dict[str, Any] = tomllib.loads((ROOT / "deploy/advisories.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMPATIBLE = {
    *(
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "GPL-2.0-or-later",
        "LGPL-3.0-only",
        "LGPL-3.0-or-later",
    ),
    *("MIT", "MIT-0", "PSF-2.0", "Public Domain", "Zlib"),
}
"""Of the table; by the FSF's list, with GPL-3.0-or-later."""
SAID = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "BSD": "BSD-2-Clause",  # its text has two clauses
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",  # its text has three clauses
    "Dual License": "Apache-2.0 OR BSD-3-Clause",
    "GNU LGPL v3+": "LGPL-3.0-or-later",
    "MIT License": "MIT",
}
"""Older words of packages for the same."""


def licences() -> dict[str, str]:
    """The table, by package."""
    text = (ROOT / "deploy/licences.md").read_text(encoding="utf-8").partition("\n## ")[0]
    return dict(re.findall(r"^\| ([a-z\d-]+) \| ([^|]+?) \| [^|]+ \|$", text, re.MULTILINE)[1:])


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = text.split("dependencies = [\n", 1)[1].split("\n]\n", 1)[0].splitlines()
    assert len(listed) == len(PROJECT["dependencies"])
    for line in listed:
        assert re.fullmatch(r' {4}"[^"]+",  # \S.*', line), line


def test_the_lock_has_what_the_project_needs_and_in_the_versions_that_it_takes() -> None:
    for need in PROJECT["dependencies"]:
        wanted = Requirement(need)
        found = [version for package, version in LOCKED if package == wanted.name]
        assert found, need
        assert all(wanted.specifier.contains(version) for version in found), need


def test_every_version_is_held_by_hashes() -> None:
    entries = re.split(r"^(?=[a-z])", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) == len(LOCKED)
    assert all("--hash=sha256:" in entry for entry in entries)


# --- advisories ---
def test_every_package_was_looked_at() -> None:
    told = {*ADVISORIES["none"], *(one["package"] for kind in ("mended", "open") for one in ADVISORIES[kind])}
    assert sorted(told) == PACKAGES
    assert not set(ADVISORIES["none"]) & {
        one["package"] for kind in ("mended", "open") for one in ADVISORIES[kind]
    }
    assert isinstance(ADVISORIES["looked_at"], date)


@pytest.mark.parametrize("advisory", ADVISORIES["mended"], ids=lambda one: one["id"])
def test_what_is_shipped_has_the_mend(advisory: dict[str, str]) -> None:
    for name, version in LOCKED:
        if name == advisory["package"]:
            assert version >= Version(advisory["version"])


@pytest.mark.parametrize("advisory", ADVISORIES["open"], ids=lambda one: one["id"])
def test_what_is_open_is_so_for_the_shipped_version(advisory: dict[str, str]) -> None:
    assert (advisory["package"], Version(advisory["version"])) in LOCKED, "shipped anew: look again"
    assert advisory["what"].endswith(".")
    assert advisory["here"].endswith(".")


# --- licences ---
def test_every_package_has_a_licence_that_the_gpl_allows() -> None:
    told = licences()
    assert sorted(told) == PACKAGES
    for name, licence in told.items():
        either = re.split(r" OR ", licence)
        assert any(set(one.split(" AND ")) <= COMPATIBLE for one in either), name


@pytest.mark.parametrize("name", PACKAGES)
def test_the_table_says_what_the_package_says(name: str) -> None:
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:  # another engine in the wheel's place
        assert name == "pjsua2-python"
        return
    words = metadata.json
    said = str(words.get("license_expression") or words.get("license") or "").split("\n", 1)[0]
    classes = [one.rpartition(" :: ")[2] for one in words.get("classifier", ()) if "License ::" in one]
    told = licences()[name]
    assert (
        SAID.get(said, said) == told
        or told in classes
        or SAID.get(next(iter(classes), "")) == told
        or not (said or classes)
    )


def test_what_the_page_hands_to_browsers_is_what_it_is_said_to_be() -> None:
    """Its hash, its licence, and a line among the parts that come inside."""
    vendor = ROOT / "sipagent/web/static/vendor"
    told = json.loads((vendor / "manifest.json").read_text(encoding="utf-8"))
    files = {path.name for path in vendor.iterdir()} - {"manifest.json"}
    assert files == {one[name] for one in told for name in ("file", "license_file")}
    inside = (ROOT / "deploy/licences.md").read_text(encoding="utf-8").partition("\n## ")[2]
    for one in told:
        assert sha256((vendor / one["file"]).read_bytes()).hexdigest() == one["sha256"]
        assert re.search(
            rf"^\| {one['package']} {one['version']}.* \| {one['license']} \|$", inside, re.MULTILINE
        )
