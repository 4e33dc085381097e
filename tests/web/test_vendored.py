"""What is foreign in the page, and what its scripts say: nothing but what the server has words for."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from sipagent.web.templating import FOLDER
from tests.web.conftest import Asking

STATIC = FOLDER / "static"
VENDOR = STATIC / "vendor"
SCRIPTS = sorted(STATIC.glob("*.js"))
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())


@pytest.mark.parametrize("entry", MANIFEST, ids=[entry["file"] for entry in MANIFEST])
def test_what_is_foreign_is_what_was_published(entry: dict[str, str]) -> None:
    assert hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
    assert "Permission to use, copy, modify" in (VENDOR / entry["license_file"]).read_text()


def test_nothing_else_is_foreign() -> None:
    listed = {name for entry in MANIFEST for name in (entry["file"], entry["license_file"])}
    assert {path.name for path in VENDOR.iterdir()} == listed | {"manifest.json"}


def test_webassembly_is_for_the_worker_alone(asking: Asking) -> None:
    for path in SCRIPTS:
        policy = asking.client.get(f"/static/{path.name}").headers.get("content-security-policy", "")
        assert ("wasm" in policy) is (path.name == "opener.js")
        assert "unsafe-inline" not in policy and "'unsafe-eval'" not in policy


def test_the_worker_that_has_the_key_can_ask_nothing_of_a_server(asking: Asking) -> None:
    policy = asking.client.get("/static/opener.js").headers["content-security-policy"]
    assert policy == "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.name))
def test_no_script_names_another_host_or_makes_code(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"https?://|\beval\(|new Function|innerHTML|document\.write", text)


def test_every_code_of_a_script_has_words() -> None:
    templates = [path.read_text() for path in (FOLDER / "templates").glob("*.html")]
    words = {code for text in templates for code in re.findall(r'^  "(\w+)": _\(', text, re.M)}
    text = "\n".join(path.read_text() for path in SCRIPTS)
    said = set(re.findall(r'(?:say|new Fault)\("(\w+)"', text)) - {"closed"}
    assert said <= words and len(said) > 20
