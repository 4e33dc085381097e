"""`check` of the edge: Kamailio is there, and its configuration starts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from sipagent.check import machine
from sipagent.check.machine import edge_findings
from sipagent.config.errors import Finding
from sipagent.config.layout import EngineLimits
from tests.configured import SMALL, read, with_keys
from tests.peers.passport import Signer
from tests.peers.tls import certified
from tests.peers.tsa import Holder

VERIFYING = 'verify_identity = true\nidentity_certificates = "signers"'
TOWN = with_keys("capacity", "calls = 5", SMALL)


def findings(text: str, folder: Path) -> list[Finding]:
    return [*edge_findings(read(text, folder / "config.toml"), EngineLimits(legs=4), datetime.now(UTC))]


def secured(folder: Path, valid: timedelta = timedelta(days=90)) -> str:
    files = certified(folder, "edge", "127.0.0.1", valid=valid)
    keys = f'tls_listen = "0.0.0.0:5061"\ncertificate = "{files.certificate}"\nprivate_key = "{files.key}"'
    files.key.chmod(0o600)
    return with_keys("edge", f'{keys}\nca = "{files.ca}"', TOWN)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Kamailio's sockets lie below it, and their names may have 107 bytes."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def unstarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found before Kamailio would be started, which is there."""
    monkeypatch.setattr(machine, "_started", lambda _: Finding("ok", "edge", ""))
    monkeypatch.setattr(machine, "_absent", lambda _: [])


@pytest.mark.live
def test_the_edge_starts_and_ends(short_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short_path))
    (found,) = findings(TOWN, tmp_path)
    assert found.level == "ok", found.detail
    assert found.detail.startswith("kamailio 6.") and found.detail.endswith("starts, with 3 workers")
    assert not list(short_path.iterdir())
    text = secured(tmp_path)
    assert [one.level for one in findings(text, tmp_path)] == ["ok"]
    monkeypatch.setattr(machine, "expiry", lambda *_: datetime.now(UTC) + timedelta(days=90))
    (tmp_path / "edge.pem").write_text("nonsense")  # of which Kamailio's own `-c` says nothing
    (found,) = findings(text, tmp_path)
    assert (found.level, found.what) == ("error", "edge")
    assert "edge.pem" in found.detail and "\n" not in found.detail


@pytest.mark.live
def test_modules_that_are_missing_are_named_with_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "lib" / "kamailio" / "modules"
    there.mkdir(parents=True)
    for path in machine.MODULES.glob("*/kamailio/modules/*.so"):
        if path.name not in {"tls.so", "htable.so", "secsipid.so"}:
            (there / path.name).touch()
    monkeypatch.setattr(machine, "MODULES", tmp_path)
    said = "not installed; on a Debian: apt install kamailio"
    assert [one.detail for one in findings(TOWN, tmp_path)] == [f"htable.so {said}"]
    found = findings(secured(tmp_path), tmp_path)
    assert [one.detail for one in found] == [f"htable.so, tls.so {said} kamailio-tls-modules"]
    found = findings(with_keys("trunk", VERIFYING, TOWN), tmp_path)
    assert [one.detail for one in found] == [f"htable.so, secsipid.so {said} kamailio-secsipid-modules"]


@pytest.mark.usefixtures("unstarted")
def test_what_callers_are_verified_by_is_looked_at(tmp_path: Path) -> None:
    verifying = with_keys("trunk", VERIFYING, SMALL)  # even one call needs an edge then
    said = "trunk.identity_certificates"
    empty = Finding("warning", said, f"{tmp_path / 'signers'}: holds no certificate at HOST/PATH")
    assert findings(verifying, tmp_path) == [empty, Finding("ok", "edge", "")]
    signer = Signer(valid=timedelta(days=-1))
    path = signer.lays(tmp_path / "signers")
    (found, _) = findings(verifying, tmp_path)
    assert (found.level, found.what) == ("warning", said)
    assert str(found.detail).startswith(f"{path}: has expired, on ")
    Signer().lays(tmp_path / "signers")
    assert findings(verifying, tmp_path) == [Finding("ok", "edge", "")]
    (found,) = findings(with_keys("trunk", f'{VERIFYING}\nidentity_roots = "roots.pem"', SMALL), tmp_path)
    assert (found.level, found.what) == ("error", "trunk.identity_roots")


def test_where_no_kamailio_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(SMALL, tmp_path) == []  # one process needs no edge
    (found,) = findings(with_keys("edge", "start = false", TOWN), tmp_path)
    assert found.level == "ok" and "sipagent edge" in found.detail
    unknown = with_keys("trunk", 'registrar = "sip:nobody.invalid"\nallowed_sources = []', TOWN)
    (found,) = findings(unknown, tmp_path)
    assert (found.level, found.what) == ("error", "trunk.registrar")
    monkeypatch.setattr(machine, "KAMAILIO", tmp_path / "kamailio")
    absent = Finding("error", "edge", "kamailio not installed; on a Debian: apt install kamailio")
    assert findings(TOWN, tmp_path) == [absent]


@pytest.mark.parametrize(("name", "content", "said"), [
    ("edge.key", None, ("edge.private_key", "No such file or directory")),
    ("edge.pem", None, ("edge.certificate", "No such file or directory")),
    ("edge.ca", None, ("edge.ca", "No such file or directory")),
    ("edge.pem", "nonsense", ("edge.certificate", "holds no certificate")),
    ("edge.key", "another", ("edge.private_key", "is of another certificate")),
    ("edge.key", "sealed", ("edge.private_key", "has a passphrase, and nobody is there to type it")),
])  # fmt: skip
def test_what_tls_cannot_use_is_one_error_with_its_key_and_nothing_is_started_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None, said: tuple[str, str]
) -> None:
    monkeypatch.setattr(machine, "_absent", lambda _: [])
    text, path = secured(tmp_path), tmp_path / name
    path.unlink()
    if content == "another":
        path.write_bytes(certified(tmp_path, "another").key.read_bytes())
    elif content == "sealed":
        sealing = BestAvailableEncryption(b"four words")
        path.write_bytes(Holder("sealed").key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing))
    elif content:
        path.write_text(content)
    what, detail = said
    assert findings(text, tmp_path) == [Finding("error", what, f"{path}: {detail}")]


@pytest.mark.usefixtures("unstarted")
@pytest.mark.parametrize(("days", "level", "said"), [
    (-1, "error", "has expired, on "),
    (1.5, "warning", "expires in 1 day,"),
    (29, "warning", "expires in 28 days"),
    (31, "", ""),
])  # fmt: skip
def test_the_age_of_the_certificate(tmp_path: Path, days: float, level: str, said: str) -> None:
    *warned, last = findings(secured(tmp_path, valid=timedelta(days=days)), tmp_path)
    assert last.level == "ok"
    assert [(one.level, one.what) for one in warned] == [(level, "edge.certificate")] * bool(level)
    assert all(f"edge.pem {said}" in one.detail for one in warned)


@pytest.mark.usefixtures("unstarted")
def test_a_private_key_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    text = secured(tmp_path)
    (tmp_path / "edge.key").chmod(0o644)
    warned, _ = findings(text, tmp_path)
    assert (warned.level, warned.what) == ("warning", "edge.private_key") and "chmod 0600" in warned.detail
