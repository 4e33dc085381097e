"""`sipagent hosts`: who shares the database, and what commands say where that is away."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from retention.journal import Journal
from retention.shipping import Presence, Shipper
from tests.configured import with_keys
from tests.office import CONFIG, Office, make_office
from tests.sealed import sealed_store
from tests.test_shipping import ship, write_call


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    folder = tmp_path / "office"
    folder.mkdir()
    return make_office(folder, capsys)


def share(office: Office, url: str) -> None:
    shared = with_keys("retention", f'database = "{url}"', CONFIG)
    (office.folder / "config.toml").write_text(with_keys("cluster", 'host = "a"', shared))


@pytest.fixture
def shipper(office: Office, database: str, tmp_path: Path) -> Iterator[Shipper]:
    """Of the host `a`."""
    share(office, database)
    with sealed_store(database, tmp_path / "vault") as shared, closing(Journal(tmp_path / "a.db")) as journal:
        write_call(journal)
        yield Shipper(journal, shared, "a", "1.2.3", 60.0)


def test_it_says_how_each_host_is(office: Office, shipper: Shipper) -> None:
    shipper.renew(Presence(calls=3, draining=True))
    done = office.run("hosts", "--json")
    (host,) = json.loads(done.out)
    assert done.code == 0
    assert host.pop("seen_at").endswith("Z") and host.pop("lease_until").endswith("Z")
    assert host.pop("lag_s") >= 0
    told = {"host": "a", "state": "draining", "version": "1.2.3"}
    assert host == told | {"calls": 3, "draining": True, "lag_rows": 5}
    shown = office.run("hosts").out
    assert "draining" in shown and "1.2.3" in shown and "s ago" in shown
    shipper._lease_s = -1.0
    shipper.renew(Presence())
    done = office.run("hosts")
    assert done.code == office.run("hosts", "--json").code == 1 and "1 host is lost" in done.out
    assert "1 hôte est perdu" in office.run("hosts", "--lang", "fr").out
    ship(shipper)
    shipper.leave()
    (host,) = json.loads(office.run("hosts", "--json").out)
    assert (host["state"], host["lease_until"], host["lag_rows"]) == ("stopped", None, 0)


def test_where_nobody_was_it_says_so(office: Office, database: str) -> None:
    done = office.run("hosts")
    assert done.code == 1 and "no other host shares it" in done.err
    share(office, database)
    done = office.run("hosts")
    assert (done.code, done.out) == (0, "No host has been here yet.\n")
