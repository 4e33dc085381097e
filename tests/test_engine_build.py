"""`make engine`: what it says of a source that it does not know; and the wheel, where a source is at hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.loopback import ROOT

SOURCE = os.environ.get("SIPAGENT_ENGINE_SOURCE", "")  # pjproject-2.17.tar.gz


def build(source: str | Path, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    here = {**os.environ, "PYTHON": sys.executable, "TOOLS": sys.prefix, **environment}
    command = [str(ROOT / "deploy/engine/build"), str(source), str(out)]
    return subprocess.run(command, env=here, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("what", ["file", "folder", "missing", "interpreter"])
def test_what_it_cannot_build_from_is_one_line(what: str, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(b"nothing that we know")
    (tmp_path / "folder").mkdir()
    source = {"folder": tmp_path / "folder", "missing": tmp_path / "none"}.get(what, archive)
    told = {
        "file": f"its sha256 is {sha256(archive.read_bytes()).hexdigest()}; accepted: one of ",
        "folder": "has no version.mak; accepted: a folder or an archive of pjproject",
        "missing": "none: is missing; accepted: pjproject's archive",
        "interpreter": "python-none: is missing; accepted: PYTHON= an interpreter, 3.11 to 3.13",
    }
    done = build(source, tmp_path / "out", **({"PYTHON": "python-none"} if what == "interpreter" else {}))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("deploy/engine/build: ") and told[what] in done.stderr


def test_each_patch_says_why_and_check_knows_which_engine_has_it() -> None:
    table = tomllib.loads((ROOT / "sipagent/check/advisories.toml").read_text(encoding="utf-8"))["hole"]
    patches = sorted((ROOT / "deploy/engine/patches").iterdir())
    for number, patch in enumerate(patches, 1):
        assert patch.name.startswith(f"{number:02}-") and patch.suffix == ".patch"
        why, _, _ = patch.read_text(encoding="utf-8").partition("--- a/")
        (closed,) = (one["id"] for one in table if one["mended"] == f"2.17+sipagent.{number}")
        assert f"Upstream after 2.17: {closed.removeprefix('upstream ')}." in why
    newest = max(re.findall(r"2\.17\+sipagent\.(\d+)", str(table)), key=int)
    assert int(newest) == len(patches)


@pytest.mark.skipif(not SOURCE, reason="SIPAGENT_ENGINE_SOURCE names no source of pjproject")
def test_twice_the_same_bytes_and_the_engine_has_its_limits(tmp_path: Path) -> None:
    made = [tmp_path / "one", tmp_path / "another-place"]
    for out in made:
        out.mkdir()
        assert (done := build(SOURCE, out, TMPDIR=str(out))).returncode == 0, done.stderr
    one, another = (next(out.glob("pjsua2_python-*.whl")) for out in made)
    assert one.read_bytes() == another.read_bytes()
    last = sorted((ROOT / "deploy/engine/patches").iterdir())[-1].name.partition("-")[0]
    assert one.name.startswith(f"pjsua2_python-2.17+sipagent.{int(last)}-cp3")
    ZipFile(one).extractall(tmp_path / "engine")
    asked = "from sipagent.service.children import asked; print(asked('sipagent.pjsip.library:tell')[1])"
    where = os.environ | {"PYTHONPATH": f"{tmp_path / 'engine'}:{ROOT}"}
    command = [sys.executable, "-c", asked]
    said = subprocess.run(command, env=where, capture_output=True, text=True, check=True).stdout
    site = (ROOT / "deploy/engine/config_site.h").read_text(encoding="utf-8")
    calls, players = re.findall(r"#define PJSUA_MAX_(?:CALLS|PLAYERS) +(\d+)", site)
    assert said.startswith(f"{calls} legs, {players} players, ")
