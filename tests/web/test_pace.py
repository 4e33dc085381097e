"""How fast logins may be tried: slower and slower, never not at all, and nobody is kept out by others."""

import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from retention.accounts.accounts import Accounts
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


def refused(pace: LoginPace, clock: Clock, address: str = "192.0.2.1", name: str = "Ann") -> float:
    """Be refused once more; how long that took to be tried at all."""
    began = clock.now
    while (wait := pace.begin(address, name)) > 0:
        clock.now += wait
    return clock.now - began


@pytest.mark.parametrize("address", ["192.0.2.1", "", "testclient", "192.0.2.300"])
def test_a_few_mistakes_cost_nothing_and_more_cost_more(pace: LoginPace, clock: Clock, address: str) -> None:
    waits = [refused(pace, clock, address) for _ in range(14)]
    assert waits[: OF_BOTH.free] == [0.0] * OF_BOTH.free
    assert waits[OF_BOTH.free : OF_BOTH.free + 4] == [1.0, 2.0, 4.0, 8.0]
    assert max(waits) == OF_BOTH.longest_s  # and no more, ever
    clock.now += FORGOTTEN_S
    assert [refused(pace, clock, address) for _ in range(3)] == [0.0] * 3
    pace.passed(address, "Ann")
    assert pace.begin(address, "ANN") == 0.0


def test_an_address_is_slow_for_all_names(pace: LoginPace, clock: Clock) -> None:
    """Of IPv6 its /64; one of IPv4 is the same in both forms."""
    for address, other in (("192.0.2.{}", "192.0.3.2"), ("2001:db8::{:x}", "2001:db8:0:1::1")):
        names = [f"name {n}" for n in range(OF_ADDRESS.free + 8)]
        waits = [
            refused(pace, clock, address.format(n if ":" in address else 1), name)
            for n, name in enumerate(names)
        ]
        assert waits[: OF_ADDRESS.free] == [0.0] * OF_ADDRESS.free
        assert waits[-1] == OF_ADDRESS.longest_s
        assert pace.begin(other, "name of another") == 0.0
        same = "2001:db8::7777" if ":" in address else "::ffff:192.0.2.1"
        assert pace.begin(same, "name of another") > 0.0


def test_a_name_alone_is_slowed_down_a_little_and_its_owner_not_at_all(pace: LoginPace, clock: Clock) -> None:
    """Others try from everywhere: nobody can keep the owner out."""
    pace.begin("192.0.2.9", "Ann")
    pace.passed("192.0.2.9", "Ann")
    waits = [refused(pace, clock, f"198.51.100.{n}") for n in range(60)]
    assert max(waits) == OF_NAME.longest_s
    assert pace.begin("198.51.100.99", "Ann") > 0.0
    assert pace.begin("192.0.2.9", "Ann") == 0.0  # from where it was logged in before


def test_many_at_once_are_as_slow_as_one(pace: LoginPace) -> None:
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


def test_memory_is_bounded_and_has_no_name_that_was_typed(
    accounts: Accounts, pace: LoginPace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace_module, "MOST_TRIED", 50)
    typed = "correct horse battery staple"
    for n in range(200):
        pace.begin(f"2001:db8:{n:x}::1", f"name {n}")
        pace.passed(f"2001:db8:{n:x}::1", f"name {n}")
        pace.begin(f"2001:db8:{n:x}::1", f"other {n}")
    pace.begin("192.0.2.1", typed)
    kinds = ("both", "address", "name", "known")
    rows = accounts.memory._rows.read("SELECT * FROM attempts")
    counts = [sum(row["kind"] == kind for row in rows) for kind in kinds]
    kept = repr(vars(pace)) + repr(vars(accounts.memory)) + repr(rows)
    assert repr(sha256(typed.encode()).digest())[2:-1] not in kept
    assert counts == [50] * 4 and "correct horse" not in kept
