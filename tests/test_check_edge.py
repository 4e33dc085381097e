"""`check` of the edge: Kamailio is there, and its configuration starts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from sipagent.check import machine
from sipagent.check.machine import edge_findings
from sipagent.config.errors import Finding
from sipagent.config.layout import EngineLimits
from sipagent.config.load import Config, parse
from tests.configured import SMALL, with_keys
from tests.peers.tls import certified
from tests.peers.tsa import Holder

WHEEL = EngineLimits(legs=4)
TOWN = with_keys("capacity", "calls = 5", SMALL)


def read(text: str, folder: Path) -> Config:
    return parse(text, folder / "config.toml")


def findings(text: str, folder: Path) -> list[Finding]:
    return list(edge_findings(read(text, folder), WHEEL, datetime.now(UTC)))


def secured(folder: Path, text: str = TOWN, valid: timedelta = timedelta(days=90)) -> str:
    files = certified(folder, "edge", "127.0.0.1", valid=valid)
    keys = f'tls_listen = "0.0.0.0:5061"\ncertificate = "{files.certificate}"\nprivate_key = "{files.key}"'
    files.key.chmod(0o600)
    return with_keys("edge", f'{keys}\nca = "{files.ca}"', text)


def test_one_process_needs_no_edge(tmp_path: Path) -> None:
    assert findings(SMALL, tmp_path) == []


@pytest.mark.live
def test_the_edge_is_started_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (found,) = findings(TOWN, tmp_path)
    assert found.level == "ok"
    assert found.detail.startswith("kamailio 6.") and found.detail.endswith("starts, with 3 workers")
    assert not list(tmp_path.iterdir())


@pytest.mark.live
def test_tls_is_started_with_its_certificate(tmp_path: Path) -> None:
    (found,) = findings(secured(tmp_path), tmp_path)
    assert found.level == "ok", found


@pytest.mark.live
def test_a_configuration_that_does_not_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kamailio's own `-c` says nothing of it."""
    text = secured(tmp_path)
    monkeypatch.setattr(machine, "expiry", lambda *_: datetime.now(UTC) + timedelta(days=90))
    (tmp_path / "edge.pem").write_text("nonsense")
    (found,) = findings(text, tmp_path)
    assert (found.level, found.what) == ("error", "edge")
    assert "edge.pem" in found.detail and "\n" not in found.detail


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("edge.key", None, ("edge.private_key", "edge.key: No such file or directory")),
        ("edge.pem", None, ("edge.certificate", "edge.pem: No such file or directory")),
        ("edge.ca", None, ("edge.ca", "edge.ca: No such file or directory")),
        ("edge.key", "nonsense", ("edge.private_key", "edge.key: holds no private key")),
        ("edge.pem", "nonsense", ("edge.certificate", "edge.pem: holds no certificate")),
        ("edge.ca", "nonsense", ("edge.ca", "edge.ca: holds no certificate")),
        ("edge.key", "another", ("edge.private_key", "edge.key: is of another certificate")),
        (
            "edge.key",
            "sealed",
            ("edge.private_key", "edge.key: has a passphrase, and nobody is there to type it"),
        ),
        ("edge.key", "folder", ("edge.private_key", "edge.key: Is a directory")),
    ],
)
def test_what_tls_cannot_use_is_one_error_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None, error: tuple[str, str]
) -> None:
    """And Kamailio is not started on it."""
    monkeypatch.setattr(machine, "_absent", lambda _: [])
    text, path = secured(tmp_path), tmp_path / name
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content == "another":
        path.write_bytes(certified(tmp_path, "another").key.read_bytes())
    elif content == "sealed":
        key = Holder("sealed").key
        sealing = BestAvailableEncryption(b"four words")
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing))
    elif content:
        path.write_text(content)
    what, detail = error
    assert findings(text, tmp_path) == [Finding("error", what, f"{tmp_path}/{detail}")]


def test_a_private_key_that_this_user_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_absent", lambda _: [])
    text = secured(tmp_path)
    forbid(monkeypatch, tmp_path / "edge.key")
    assert findings(text, tmp_path) == [
        Finding("error", "edge.private_key", f"{tmp_path}/edge.key: Permission denied")
    ]


def forbid(monkeypatch: pytest.MonkeyPatch, forbidden: Path) -> None:
    """As for who is not root."""
    read = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path == forbidden:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refused)


@pytest.mark.parametrize(
    ("days", "level", "said"),
    [
        (-1, "error", "has expired, on "),
        (0.01, "warning", "expires in 0 days"),
        (1.5, "warning", "expires in 1 day,"),
        (29, "warning", "expires in 28 days"),
        (31, "", ""),
    ],
)
def test_the_age_of_the_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float, level: str, said: str
) -> None:
    monkeypatch.setattr(machine, "_started", lambda _: Finding("ok", "edge", ""))
    monkeypatch.setattr(machine, "_absent", lambda _: [])
    *warned, last = findings(secured(tmp_path, valid=timedelta(days=days)), tmp_path)
    assert last.level == "ok"
    assert [(one.level, one.what) for one in warned] == [(level, "edge.certificate")] * bool(level)
    assert all(f"edge.pem {said}" in one.detail for one in warned)


def test_a_private_key_that_others_may_read_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_started", lambda _: Finding("ok", "edge", ""))
    monkeypatch.setattr(machine, "_absent", lambda _: [])
    text = secured(tmp_path)
    (tmp_path / "edge.key").chmod(0o644)
    warned, _ = findings(text, tmp_path)
    assert (warned.level, warned.what) == ("warning", "edge.private_key") and "chmod 0600" in warned.detail


def test_without_kamailio_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "KAMAILIO", tmp_path / "kamailio")
    (found,) = findings(TOWN, tmp_path)
    assert found == Finding("error", "edge", "kamailio not installed; on a Debian: apt install kamailio")


@pytest.mark.live
def test_modules_that_are_missing_are_named_with_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "lib" / "kamailio" / "modules"
    there.mkdir(parents=True)
    for path in machine.MODULES.glob("*/kamailio/modules/*.so"):
        if path.name not in {"tls.so", "htable.so"}:
            (there / path.name).touch()
    monkeypatch.setattr(machine, "MODULES", tmp_path)
    (found,) = findings(TOWN, tmp_path)
    assert found.detail == "htable.so not installed; on a Debian: apt install kamailio"
    (found,) = findings(secured(tmp_path), tmp_path)
    assert found.detail == (
        "htable.so, tls.so not installed; on a Debian: apt install kamailio kamailio-tls-modules"
    )


def test_an_edge_of_somebody_elses_is_not_started(tmp_path: Path) -> None:
    (found,) = findings(with_keys("edge", "start = false", TOWN), tmp_path)
    assert found.level == "ok" and "sipagent edge" in found.detail


def test_a_registrar_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    text = with_keys("trunk", 'registrar = "sip:nobody.invalid"\nallowed_sources = []', TOWN)
    (found,) = findings(text, tmp_path)
    assert (found.level, found.what) == ("error", "trunk.registrar")
