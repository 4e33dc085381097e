"""A vault that does not let keys go: it is said, counted, and done by the next purge."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from retention.erase import delete
from retention.postgres.store import SealedStore
from retention.purge import Terms, purge
from retention.records import Access
from retention.sqlite import Store
from sipagent.check.retention import _keys
from tests.kept import START, archive_of, keep, recording
from tests.postgres import Server, fresh
from tests.sealed import WatchedBlobs, ask, keys_in, sealed_store, tables

TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="6 months")
LATER = START + timedelta(days=200)


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    with fresh(postgres, tables) as conninfo:
        yield conninfo


class Vault(WatchedBlobs):
    """`shut`: nothing can be removed from it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, self._refuse)
        self.shut = False

    def _refuse(self, step: str, name: str) -> None:
        if self.shut and step == "remove":
            raise OSError(30, "Read-only file system", name)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vault")


@pytest.fixture
def store(database: str, vault: Vault) -> Iterator[SealedStore]:
    with sealed_store(database, vault, host="a") as store:
        yield store


def keys_of(database: str) -> set[str]:
    return {row["key"] for row in ask(database, "SELECT key FROM receipts UNION SELECT key FROM recordings")}


def test_a_purge_that_cannot_remove_keys_says_so_and_the_next_one_does(
    store: SealedStore, vault: Vault, database: str, tmp_path: Path
) -> None:
    archive = archive_of(store, tmp_path / "recordings", tmp_path)
    keep(archive, recording())
    keys = keys_of(database)
    vault.shut = True
    report = purge(archive, LATER, TERMS)
    ((what, why),) = report.failed
    assert what == "vault" and "keys of what was forgotten are still there: " in why
    assert "Read-only file system" in why
    (finding,) = _keys(store)
    assert finding.level == "error" and "are still in the vault" in repr(finding)
    assert keys & set(keys_in(tmp_path / "vault"))
    vault.shut = False
    assert purge(archive, LATER, TERMS).failed == ()
    assert not keys & set(keys_in(tmp_path / "vault"))
    assert [*_keys(store)] == []


def test_a_deletion_that_cannot_remove_keys_is_no_success(
    store: SealedStore, vault: Vault, database: str, tmp_path: Path
) -> None:
    archive = archive_of(store, tmp_path / "recordings", tmp_path)
    row = keep(archive, recording())
    keys = keys_of(database)
    vault.shut = True
    trace = Access(at=LATER, action="delete", by="dpo", recording_id=row.id)
    with pytest.raises(OSError, match="Read-only file system"):
        delete(archive, row.id, trace, lambda: LATER)
    assert store.receipt(row.id).caller is None
    vault.shut = False
    assert purge(archive, START + timedelta(days=1), TERMS).failed == ()
    assert not keys & set(keys_in(tmp_path / "vault")) and store.keys_left() == 0


def test_a_database_of_one_host_has_no_keys_to_remove() -> None:
    with Store(":memory:") as store:
        assert (store.forget_keys().left, store.keys_left(), store.renew_words()) == (0, 0, 0)
        assert [*_keys(store)] == []
