"""`stamp`: a stamp now, and the list of those there are."""

import json
from pathlib import Path

import pytest

from retention import stamps
from retention.stamps import FolderStamps, newest
from tests.configured import SMALL, read, with_keys, wrong
from tests.office import Office, make_office
from tests.peers.tsa import NAME, Answer, Authority


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], tsa: Authority) -> Office:
    """One whose authority is the one on loopback."""
    office = make_office(tmp_path, capsys)
    with (tmp_path / "config.toml").open("a") as file:
        file.write(f'[retention]\ntimestamp_url = "{tsa.url}"\ntimestamp_ca = "tsa/ca.pem"\n')
    return office


def test_the_head_is_stamped_and_only_once(office: Office) -> None:
    office.call()
    head = office.archive.store.head()
    first = office.run("stamp")
    made = newest(FolderStamps(office.folder / "stamps"))
    assert made is not None and (made.seq, made.hash) == (head.seq, head.hash)
    assert first.code == 0 and first.out.startswith(f"stamped entry {head.seq}: 20")
    assert first.out.endswith(f", {NAME}\n")
    again = office.run("stamp")
    assert again.code == 0
    assert again.out.startswith(f"the head has not moved since the stamp of entry {head.seq}: 20")


def test_a_stamp_as_json(office: Office) -> None:
    office.call()
    head = office.archive.store.head()
    shown = json.loads(office.run("stamp", "--json").out)
    assert shown["stamped"] is True and shown["stamp"]["at"].endswith(".000Z")
    shown["stamp"].pop("at")
    expected = {"file": f"{head.seq}.tsr", "seq": head.seq, "hash": head.hash, "authority": NAME}
    assert shown["stamp"] == expected
    again = json.loads(office.run("stamp", "--json").out)
    assert again["stamped"] is False and again["stamp"]["hash"] == head.hash


def test_the_list(office: Office) -> None:
    assert office.run("stamp", "--list").out == "No stamps.\n"
    assert json.loads(office.run("stamp", "--list", "--json").out) == []
    office.call()
    office.run("stamp")
    office.call()
    office.run("stamp")
    (office.folder / "stamps" / "1.tsr").write_text("nothing")
    seq = office.archive.store.head().seq
    headings, *lines = office.run("stamp", "--list").out.splitlines()
    assert headings.split() == ["file", "at", "authority", "hash"]
    assert len(lines) == 3 and lines[0].startswith(f"{seq}.tsr") and NAME in lines[0]
    assert lines[2].startswith("1.tsr") and lines[2].endswith("is not a time stamp response")
    shown = json.loads(office.run("stamp", "--list", "--json").out)
    assert shown[0]["seq"] == seq
    assert shown[2] == {"file": "1.tsr", "problem": "is not a time stamp response"}


def test_a_failure_is_one_line(office: Office, tsa: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no database yet" in office.fails(1, "stamp")
    assert not (office.folder / "retention.db").exists()
    office.call()
    tsa.answer = lambda query: Answer(status=503)
    assert office.fails(1, "stamp") == f"sipagent: {tsa.url}: HTTP 503\n"
    monkeypatch.setattr(stamps, "find_spec", lambda name: None)
    for words in (["stamp"], ["stamp", "--list"]):
        assert "pip install 'sipagent[timestamp]'" in office.fails(1, *words)


def test_without_an_authority_it_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    office = make_office(tmp_path, capsys)
    line = office.fails(2, "stamp")
    assert "config.toml: retention.timestamp_url: absent; accepted: the URL of an RFC 3161 authority" in line


def test_an_authority_needs_certificates_to_be_checked_against() -> None:
    line = wrong(with_keys("retention", 'timestamp_url = "https://tsa.example.net"'))
    assert (
        line
        == "retention.timestamp_url: given without certificates; accepted: retention.timestamp_ca with it"
    )
    kept = read(with_keys("retention", 'timestamp_ca = "tsa.pem"\ntimestamp_url = ""')).retention
    assert (kept.timestamp_url, kept.timestamp_ca) == (None, Path("/etc/sipagent/tsa.pem"))
    assert read(SMALL).retention.timestamp_url is None


@pytest.mark.parametrize(
    "url", ["https://tsa.example.net", "http://127.0.0.1:318/tsr?a=b", "https://[2001:db8::1]:8443/"]
)
def test_a_url_of_the_web(url: str) -> None:
    keys = f'timestamp_ca = "tsa.pem"\ntimestamp_url = "{url}"'
    assert read(with_keys("retention", keys)).retention.timestamp_url == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://tsa.example.net", "is not an https or http URL"),
        ("file:///etc/passwd", "is not an https or http URL"),
        ("https://me:secret@tsa.example.net", "is not an https or http URL"),
        ("https://tsa.example.net/#top", "is not an https or http URL"),
        ("https://tsa..example.net/", "is not a host name or an IP address"),
        ("https://tsa.example.net:70000/", "has a port outside 1 to 65535"),
    ],
)
def test_what_is_no_url_of_the_web(url: str, problem: str) -> None:
    line = wrong(with_keys("retention", f'timestamp_url = "{url}"'))
    assert line.startswith("retention.timestamp_url: ") and problem in line
    assert line.endswith("an https or http URL without user or password; absent: no time stamps")
