"""What lies beside the database, by its name."""

from pathlib import Path

from retention.files import Places
from tests.configured import SMALL, read

NAMES = {
    "head": "office.head",
    "turn": "office.turn",
    "lock": "office.lock",
    "seed": "office.seed",
    "rota": "round_robin.json",
    "accounts": "accounts.db",
    "accounts_key": "accounts.key",
    "vault": "vault",
    "stamps": "stamps",
    "edge": "edge",
}


def test_all_of_it_lies_beside_the_database(tmp_path: Path) -> None:
    places = Places(tmp_path / "office.db")
    assert {name: getattr(places, name) for name in NAMES} == {
        name: tmp_path / there for name, there in NAMES.items()
    }
    assert places.lock_of(3) == tmp_path / "office.worker-3.lock"


def test_no_two_things_have_one_place(tmp_path: Path) -> None:
    places = Places(tmp_path / "retention.db")
    named = [getattr(places, name) for name in NAMES]
    named += [of(worker) for worker in (0, 1) for of in (places.lock_of, places.reserve)]
    named += [places.reserve(), places.reserve("edge"), places.database]
    assert len(set(named)) == len(named)


def test_the_configuration_says_which_database() -> None:
    assert read(SMALL).places == Places(Path("/etc/sipagent/retention.db"))
