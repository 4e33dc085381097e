"""What is shipped: each package has a reason, a licence that the GPL allows, and its advisories looked at.

`make audit` asks pip-audit, which needs PyPI's list of advisories.
"""

import json
import re
import tomllib
from datetime import date
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.each import each

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "deploy/requirements.lock").read_text(encoding="utf-8")
ADVISORIES: dict[str, Any] = tomllib.loads((ROOT / "deploy/advisories.toml").read_text(encoding="utf-8"))
HOLES: dict[str, Any] = tomllib.loads((ROOT / "sipagent/check/advisories.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMPATIBLE = {  # of the table; by the FSF's list, with GPL-3.0-or-later
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "GPL-2.0-or-later", "MIT", "MIT-0"),
    *("LGPL-3.0-only", "LGPL-3.0-or-later", "PSF-2.0", "Public Domain", "Zlib"),
}
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


def locked() -> dict[str, list[Requirement]]:
    """By name: a version for each range of interpreters."""
    found: dict[str, list[Requirement]] = {}
    for line in LOCK.splitlines():
        if line and not line.startswith(("#", " ")):
            one = Requirement(line.rstrip("\\ "))
            found.setdefault(canonicalize_name(one.name), []).append(one)
    return found


def pin(one: Requirement) -> str:
    (only,) = one.specifier
    assert only.operator == "==", one
    return only.version


PACKAGES = sorted(locked())


def test_every_dependency_has_its_reason_and_is_locked_by_version_and_hash() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = text.split("dependencies = [\n", 1)[1].split("\n]\n", 1)[0].splitlines()
    assert len(listed) == len(PROJECT["dependencies"])
    for line, need in zip(listed, PROJECT["dependencies"], strict=True):
        assert re.fullmatch(r' {4}"[^"]+",  # \S.*', line), line
        wanted = Requirement(need)
        pins = [pin(one) for one in locked()[canonicalize_name(wanted.name)]]
        assert all(wanted.specifier.contains(one) for one in pins), need
    assert "://" not in LOCK  # no host is named
    blocks = re.split(r"\n(?=\S)", LOCK.strip())[1:]
    assert len(blocks) > 30 and all("--hash=sha256:" in block for block in blocks)


def test_what_runs_here_is_what_is_locked() -> None:
    """But for an engine of one's own, which `make test ENGINE_WHEEL=…` tries."""
    for name, pins in locked().items():
        here = [pin(one) for one in pins if one.marker is None or one.marker.evaluate()]
        assert here == [] or version(name) in here or "+sipagent" in version(name), name


def test_every_package_was_looked_at_for_advisories() -> None:
    """What is mended is shipped so; what is open is so for the shipped version."""
    known = {"pjsua2-python", *(one["package"] for kind in ("mended", "open") for one in ADVISORIES[kind])}
    assert sorted({*ADVISORIES["none"], *known}) == PACKAGES and not set(ADVISORIES["none"]) & known
    assert isinstance(ADVISORIES["looked_at"], date)
    shipped = [(name, Version(pin(one))) for name, pins in locked().items() for one in pins]
    for one in ADVISORIES["mended"]:
        assert all(v >= Version(one["version"]) for name, v in shipped if name == one["package"]), one
    for one in ADVISORIES["open"]:
        assert (one["package"], Version(one["version"])) in shipped, "shipped anew: look again"
    for one in (*ADVISORIES["open"], *HOLES["hole"]):
        assert one["what"].endswith(".") and one["here"].endswith(".")


def licences() -> dict[str, str]:
    """The table, by package."""
    text = (ROOT / "deploy/licences.md").read_text(encoding="utf-8").partition("\n## ")[0]
    return dict(re.findall(r"^\| ([a-z\d-]+) \| ([^|]+?) \| [^|]+ \|$", text, re.MULTILINE)[1:])


def test_every_package_has_a_licence_that_the_gpl_allows() -> None:
    told = licences()
    assert sorted(told) == PACKAGES
    for name, licence in told.items():
        either = re.split(r" OR ", licence)
        assert any(set(one.split(" AND ")) <= COMPATIBLE for one in either), name


@each(PACKAGES)
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
