"""What the Debian package is made with: its manual, its bill of materials, its scripts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sipagent.cli.main import cli
from tests.loopback import ROOT

DEB = ROOT / "deploy/deb"
EPOCH = 1_780_000_000  # 2026-05-28
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


def made(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, "-P", str(DEB / script), *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd="/",
        env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual") / "man1"
    made("manual.py", folder, "1.2.3", str(EPOCH), "en")
    return folder


def test_each_command_has_its_page_which_says_what_help_says(manual: Path) -> None:
    wanted = {"sipagent.1", "sipagent-keys-rotate.1", *(f"sipagent-{name}.1" for name in cli.commands)}
    assert wanted <= {page.name for page in manual.iterdir()}
    page = (manual / "sipagent-export.1").read_text(encoding="utf-8")
    assert page.startswith('.TH "SIPAGENT-EXPORT" "1" "2026-05-28" "sipagent 1.2.3"')
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "SEE ALSO"):
        assert f"\n.SH {section}\n" in page
    assert "\n.B \\-\\-purpose P\n" in page
    whole = (manual / "sipagent.1").read_text(encoding="utf-8")
    assert all(f".BR sipagent\\-{name.replace('-', chr(92) + '-')} (1)" in whole for name in cli.commands)


def test_nothing_in_a_page_is_taken_for_a_request(manual: Path) -> None:
    known = {".TH", ".SH", ".TP", ".B", ".BR", ".I", ".PP", ".EX", ".EE"}
    for page in manual.iterdir():
        lines = page.read_text(encoding="utf-8").splitlines()
        assert {line.split(" ")[0] for line in lines if line.startswith((".", "'"))} <= known, page.name
        assert not any("`" in line for line in lines), page.name


@pytest.fixture
def materials(tmp_path: Path) -> dict[str, Any]:
    """A bill of two wheels, one of which brings a library and a bill of its own."""
    site = tmp_path / "home/lib/python3.11/site-packages"
    (site / "some_wheel.libs").mkdir(parents=True)
    (site / "some_wheel.libs/libsome.so.1").write_bytes(b"ELF")
    (site / "some_wheel-1.0.dist-info/sboms").mkdir(parents=True)
    own = {"components": [
        {"type": "library", "name": "openssl", "version": "1.0.2k", "purl": "pkg:rpm/openssl@1.0.2k"},
        {"type": "library", "name": "some_wheel", "version": "1.0", "purl": "pkg:pypi/some_wheel@1.0"},
    ]}  # fmt: skip
    (site / "some_wheel-1.0.dist-info/sboms/one.json").write_text(json.dumps(own))
    vendor = site / "sipagent/web/static/vendor"
    shutil.copytree(ROOT / "sipagent/web/static/vendor", vendor)
    (tmp_path / "home/bin").mkdir()
    (tmp_path / "home/bin/python3.11").write_bytes(b"ELF")
    environment = {
        "metadata": {"component": {"name": "sipagent", "bom-ref": "root-component"}},
        "components": [
            {"name": name, "version": "1.0", "bom-ref": f"{name}==1.0", "externalReferences": [
                {"type": "distribution", "url": "file:///somewhere/of/this/machine"}]}
            for name in ("sipagent", "Some.Wheel", "other")
        ],
        "dependencies": [
            {"ref": "root-component", "dependsOn": ["Some.Wheel==1.0", "left-out==1"]},
            {"ref": "left-out==1"},
        ],
    }  # fmt: skip
    urls = {"some-wheel": "https://files/some.whl", "other": "file:///opt/other.whl"}
    installed = [
        {
            "metadata": {"name": name},
            "download_info": {"url": url, "archive_info": {"hashes": {"sha256": name[0] * 64}}},
        }
        for name, url in urls.items()
    ]
    report = {"install": installed}
    (tmp_path / "environment.json").write_text(json.dumps(environment))
    (tmp_path / "report.json").write_text(json.dumps(report))
    said = made("sbom.py", tmp_path / "environment.json", tmp_path / "home", tmp_path / "report.json")
    bill: dict[str, Any] = json.loads(said)
    return bill


def test_the_bill_names_interpreter_wheels_and_what_these_bring(materials: dict[str, Any]) -> None:
    interpreter, wheel, other, sodium = materials["components"]
    assert (interpreter["name"], interpreter["components"][0]["name"]) == ("cpython", "bin/python3.11")
    assert interpreter["components"][0]["hashes"][0]["alg"] == "SHA-256"
    assert [one["hashes"][0]["content"] for one in (wheel, other)] == ["s" * 64, "o" * 64]
    brought = {"openssl", "lib/python3.11/site-packages/some_wheel.libs/libsome.so.1"}
    assert {one["name"] for one in wheel["components"]} == brought
    assert [one["url"] for one in wheel["externalReferences"]] == ["https://files/some.whl"]
    assert "externalReferences" not in other
    assert "file://" not in json.dumps(materials)  # no folder of this machine
    (ours,) = materials["dependencies"]  # on what it has alone
    assert ours["dependsOn"] == ["Some.Wheel==1.0", "interpreter", sodium["bom-ref"]]
    (file,) = sodium["components"]
    told = json.loads((ROOT / "sipagent/web/static/vendor/manifest.json").read_text(encoding="utf-8"))
    assert [(one["package"], one["version"]) for one in told] == [(sodium["name"], sodium["version"])]
    assert file["name"].endswith("site-packages/sipagent/web/static/vendor/libsodium-sumo.mjs")
    assert file["hashes"][0]["content"] == told[0]["sha256"]


@pytest.mark.skipif(not Path("/usr/bin/python3.13").exists(), reason="no Python of Debian 13")
@pytest.mark.parametrize("engine", ["", "pjsua2_python-2.17+sipagent-cp311-cp311-linux_x86_64.whl"])
def test_debians_python_wants_an_engine_for_it(engine: str, tmp_path: Path) -> None:
    here = {
        "PATH": os.environ["PATH"],
        "PYTHON": "/usr/bin/python3.13",
        "ENGINE": engine,
        "TOOLS": sys.prefix,
    }
    command = [str(DEB / "build"), str(tmp_path)]
    done = subprocess.run(command, env=here, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "is not for /usr/bin/python3.13; accepted: DEB_ENGINE= a wheel for cp313" in done.stderr


def test_the_package_depends_on_the_kamailio_that_is_needed() -> None:
    control = (DEB / "control").read_text(encoding="utf-8")
    (depends,) = re.findall(r"^Depends: (.*)$", control, re.MULTILINE)
    assert {"kamailio (>= 6.0)", "kamailio-tls-modules", "adduser"} <= set(depends.split(", "))

    for script in SCRIPTS:  # is read by dash, and ends at a fault
        text = (DEB / script).read_text(encoding="utf-8")
        assert text.startswith("#!/bin/sh\n") and "\nset -e\n" in text
        subprocess.run(["sh", "-n", str(DEB / script)], check=True)
