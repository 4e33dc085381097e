"""The folder of certificates that the edge verifies callers by: what gets there, from where; what goes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from retention.post import NoAnswer
from sipagent.edge.certificates import MOST_WANTED, OLD_S, CertificateError, Certificates, lying_in, usable
from tests.peers.passport import PLACE, Signer, published
from tests.peers.tls import LONG
from tests.peers.tsa import Holder

NOW = datetime.now(UTC)
HOST = PLACE.partition("/")[0]


class Shelf:
    """A folder, what was reported of it, and what was asked for at servers that have `offers`."""

    def __init__(self, folder: Path, *hosts: str) -> None:
        self.offers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.told: list[str] = []
        self.given = folder / "given"
        self.given.mkdir()
        self.kept = Certificates(folder / "kept", self.given, frozenset(hosts), self.told.append, self.ask)

    def ask(self, url: str, limit: int, whole_s: float) -> bytes:
        self.asked.append(url)
        if url not in self.offers:
            raise NoAnswer(url, "HTTP {0}{1}", 404, "")
        return self.offers[url]

    @property
    def places(self) -> list[str]:
        return [place for place, _ in lying_in(self.kept.folder)]


def test_what_was_given_is_there_until_it_is_taken_away_or_has_expired(tmp_path: Path) -> None:
    shelf, signer = Shelf(tmp_path), Signer()
    shelf.kept.look()
    assert shelf.told == [f"{shelf.given}: holds no certificate at HOST/PATH"]
    path = signer.lays(shelf.given)
    (shelf.given / "README").write_text("no host")
    shelf.kept.look()
    assert shelf.places == [PLACE] and (shelf.kept.folder / PLACE).read_bytes() == signer.certificate
    path.write_bytes(Signer(valid=timedelta(days=-1)).certificate)
    shelf.kept.look()
    shelf.kept.look()
    assert shelf.places == [] and shelf.told[1:] == [f"{path}: has expired, on {NOW - timedelta(1):%Y-%m-%d}"]
    signer.lays(shelf.given)
    shelf.kept.look()
    path.unlink()
    shelf.kept.look()
    assert shelf.places == [] and shelf.asked == []


def test_only_what_a_listed_host_has_is_fetched_once_in_a_while(tmp_path: Path) -> None:
    shelf, signer = Shelf(tmp_path, HOST), Signer()
    shelf.offers[f"https://{PLACE}"] = signer.certificate
    assert not shelf.kept.is_wanted("other.example.net/a.pem") and shelf.kept.is_wanted(PLACE)
    assert not shelf.kept.is_wanted(PLACE)  # it is being fetched
    shelf.kept.fetch(PLACE)
    shelf.kept.fetch(PLACE)
    assert shelf.places == [PLACE] and len(shelf.asked) == 1 and shelf.kept.is_wanted(PLACE)
    for _ in range(2):
        shelf.kept.fetch(f"{HOST}/none.pem")
    assert len(shelf.asked) == 2 and shelf.told == [f"https://{HOST}/none.pem: HTTP 404"]
    shelf.offers[f"https://{HOST}/page"] = b"<html>"
    shelf.kept.fetch(f"{HOST}/page")
    assert shelf.places == [PLACE] and shelf.told[1:] == [f"https://{HOST}/page: holds no certificate"]
    assert [shelf.kept.is_wanted(f"{HOST}/{n}") for n in range(MOST_WANTED)].count(True) == MOST_WANTED - 1
    shelf.kept.over.set()
    shelf.kept.fetch(f"{HOST}/late.pem")
    assert len(shelf.asked) == 3


def test_what_was_fetched_is_fetched_anew_each_day_and_goes_with_its_host_or_its_time(tmp_path: Path) -> None:
    shelf, old, new = Shelf(tmp_path, HOST), Signer(), Signer()
    url, path = f"https://{PLACE}", shelf.kept.folder / PLACE

    def ages() -> None:
        os.utime(path, (time.time() - OLD_S - 1,) * 2)

    shelf.offers[url] = old.certificate
    shelf.kept.fetch(PLACE)
    shelf.kept.look()
    assert len(shelf.asked) == 1
    shelf.offers[url] = new.certificate
    ages()
    shelf.kept.look(anew=False)
    assert path.read_bytes() == old.certificate
    shelf.kept.look()
    shelf.kept.look()
    assert path.read_bytes() == new.certificate and len(shelf.asked) == 2
    ages()
    shelf.offers.clear()
    shelf.kept.look()
    assert path.read_bytes() == new.certificate  # its server is away
    path.write_bytes(Signer(valid=timedelta(days=-1)).certificate)
    shelf.kept.look()
    assert shelf.places == []
    path.write_bytes(new.certificate)
    shelf.kept.hosts = frozenset()
    shelf.kept.look()
    assert shelf.places == []


def test_what_can_verify_a_passport() -> None:
    signer = Signer()
    chain = signer.certificate + signer.root_certificate()
    assert usable(b"said before\n" + chain, NOW) == chain
    early, other = NOW - timedelta(days=31), Holder("other")
    other.key = ec.generate_private_key(ec.SECP384R1())
    leaf = x509.BasicConstraints(ca=False, path_length=None)
    longer = Holder("root").certify(other, leaf, LONG).public_bytes(Encoding.PEM)
    for content, now, said in (
        (b"", NOW, "holds no certificate"),
        (signer.certificate[:-40], NOW, "holds no certificate"),
        (longer, NOW, "has no key for ES256"),
        (chain, early, "begins on"),
        (chain, NOW + timedelta(days=91), "has expired"),
    ):
        with pytest.raises(CertificateError, match=said):
            usable(content, now)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """HOST:PORT of a server of what lies in tmp_path/HOST:PORT, which this process trusts."""
    with published(tmp_path) as (name, ca):
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        yield name


def test_a_certificate_comes_from_a_server_that_proves_its_name(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, told = f"{server}/a.pem", list[str]()
    signer = Signer(place)
    signer.lays(tmp_path)
    kept = Certificates(tmp_path / "kept", None, frozenset([server]), told.append)
    kept.look()
    kept.fetch(place)
    assert (kept.folder / place).read_bytes() == signer.certificate and told == []
    monkeypatch.delenv("SSL_CERT_FILE")
    other = Certificates(tmp_path / "other", None, frozenset([server]), told.append)
    other.look()
    other.fetch(place)
    assert [*lying_in(other.folder)] == [] and "certificate verify failed" in told[0].lower()
