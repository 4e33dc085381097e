"""How fast logins may be tried: slower and slower, never not at all, and nobody is kept out by others."""

import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from retention.accounts.accounts import Accounts
from retention.accounts.memory import InMemory
from sipagent.web import sessions as pace_module
from sipagent.web.sessions import FORGOTTEN_S, OF_ADDRESS, OF_BOTH, OF_NAME, LoginPace
from tests.both import BOTH
from tests.both import accounts as opened

DATABASES = BOTH


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Iterator[Accounts]:
    with opened(tmp_path / "accounts.db", seconds=clock) as accounts:
        yield accounts


@pytest.fixture
def pace(accounts: Accounts) -> LoginPace:
    return LoginPace(accounts.memory)


def refused(pace: LoginPace, clock: Clock, address: str, name: str) -> float:
    """Be refused once more; how long that took to be tried at all."""
    began = clock.now
    while (wait := pace.begin(address, name)) > 0:
        clock.now += wait
    return clock.now - began


def test_a_few_mistakes_cost_nothing_and_more_cost_more(pace: LoginPace, clock: Clock) -> None:
    waits = [refused(pace, clock, "192.0.2.1", "Ann") for _ in range(14)]
    assert waits[: OF_BOTH.free] == [0.0] * OF_BOTH.free
    assert waits[OF_BOTH.free : OF_BOTH.free + 4] == [1.0, 2.0, 4.0, 8.0]
    assert max(waits) == OF_BOTH.longest_s  # and no more, ever


def test_a_right_one_is_free_again(pace: LoginPace, clock: Clock) -> None:
    for _ in range(6):
        refused(pace, clock, "192.0.2.1", "Ann")
    refused(pace, clock, "192.0.2.1", "Ann")
    pace.passed("192.0.2.1", "Ann")
    assert pace.begin("192.0.2.1", "ANN") == 0.0


def test_an_address_is_slow_for_all_names(pace: LoginPace, clock: Clock) -> None:
    waits = [refused(pace, clock, "192.0.2.1", f"name {n}") for n in range(OF_ADDRESS.free + 8)]
    assert waits[: OF_ADDRESS.free] == [0.0] * OF_ADDRESS.free
    assert waits[-1] == OF_ADDRESS.longest_s
    assert pace.begin("192.0.2.2", "name 1") == 0.0


def test_an_ipv6_address_counts_by_its_64(pace: LoginPace, clock: Clock) -> None:
    waits = [refused(pace, clock, f"2001:db8::{n:x}", f"name {n}") for n in range(OF_ADDRESS.free + 2)]
    assert waits[-1] > 0
    assert pace.begin("2001:db8:0:1::1", "name 1") == 0.0
    assert refused(pace, clock, "::ffff:192.0.2.1", "x") == 0.0 and pace.begin("192.0.2.1", "x") == 0.0


def test_a_name_alone_is_slowed_down_a_little_and_its_owner_not_at_all(pace: LoginPace, clock: Clock) -> None:
    """Others try from everywhere: nobody can keep the owner out."""
    pace.begin("192.0.2.9", "Ann")
    pace.passed("192.0.2.9", "Ann")
    waits = [refused(pace, clock, f"198.51.100.{n}", "Ann") for n in range(60)]
    assert max(waits) == OF_NAME.longest_s
    assert pace.begin("198.51.100.99", "Ann") > 0.0
    assert pace.begin("192.0.2.9", "Ann") == 0.0  # from where it was logged in before


def test_what_is_not_tried_again_is_forgotten(pace: LoginPace, clock: Clock) -> None:
    for _ in range(10):
        refused(pace, clock, "192.0.2.1", "Ann")
    clock.now += FORGOTTEN_S
    assert [refused(pace, clock, "192.0.2.1", "Ann") for _ in range(3)] == [0.0] * 3


def test_many_at_once_are_as_slow_as_one(pace: LoginPace, clock: Clock) -> None:
    let_in, gate = list[bool](), threading.Barrier(20)

    def attempt() -> None:
        gate.wait()
        let_in.append(pace.begin("192.0.2.1", "Ann") == 0.0)

    threads = [threading.Thread(target=attempt) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert let_in.count(True) == OF_BOTH.free


def test_memory_is_bounded(accounts: Accounts, pace: LoginPace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "MOST_TRIED", 50)
    for n in range(200):
        pace.begin(f"2001:db8:{n:x}::1", f"name {n}")
        pace.passed(f"2001:db8:{n:x}::1", f"name {n}")
        pace.begin(f"2001:db8:{n:x}::1", f"other {n}")
    kinds = ("both", "address", "name", "known")
    assert [counted(accounts, kind) for kind in kinds] == [50] * 4


def counted(accounts: Accounts, kind: str) -> int:
    """How many are kept of a kind."""
    if isinstance(accounts.memory, InMemory):
        return len(accounts.memory._tried[kind])
    (row,) = accounts._rows("SELECT count(*) AS kept FROM attempts WHERE kind = ?", [kind])
    return int(row["kept"])


def test_no_name_that_was_typed_is_kept(accounts: Accounts, pace: LoginPace) -> None:
    pace.begin("192.0.2.1", "correct horse battery staple")
    kept = repr(vars(pace)) + repr(vars(accounts.memory))
    if not isinstance(accounts.memory, InMemory):
        kept += repr(accounts._rows("SELECT * FROM attempts", []))
        assert repr(sha256(b"correct horse battery staple").digest())[2:-1] not in kept
    assert "correct horse" not in kept


@pytest.mark.parametrize("address", ["", "testclient", "not an address", "192.0.2.300"])
def test_what_is_no_address_counts_as_one(pace: LoginPace, clock: Clock, address: str) -> None:
    for _ in range(5):
        refused(pace, clock, address, "Ann")
    assert pace.begin(address, "Ann") > 0.0
