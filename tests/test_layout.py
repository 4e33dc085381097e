"""Who of many workers has which ports."""

from dataclasses import replace
from pathlib import Path

import pytest

from sipagent.config.layout import (
    NAMES,
    EngineLimits,
    Layout,
    calls_a_process,
    invites_per_s,
    layout,
    widened,
)
from sipagent.config.load import Config
from sipagent.edge.plan import needs_edge
from tests.configured import SMALL, read, with_keys


def office(tmp_path: Path, calls: int, ports: str = "10000-10999", legs: int = 4) -> tuple[Config, Layout]:
    limits = EngineLimits(legs, players=4 * legs, handles=4 * legs + 60, files=99_999, slots=99_999)
    text = with_keys("capacity", f"calls = {calls}", with_keys("trunk", f'rtp_ports = "{ports}"', SMALL))
    config = read(text, tmp_path / "config.toml")
    return config, layout(config, limits)


@pytest.mark.parametrize(("calls", "legs", "workers", "each"), [
    (1, 4, 1, 1), (2, 4, 1, 2), (3, 4, 2, 2), (5, 4, 3, 2), (50, 4, 25, 2), (100, 512, 4, 25), (3, 3, 3, 1),
])  # fmt: skip
def test_as_many_workers_as_the_engine_makes_it(
    tmp_path: Path, calls: int, legs: int, workers: int, each: int
) -> None:
    _, made = office(tmp_path, calls, legs=legs)
    assert (made.workers, made.per_worker) == (workers, each)
    assert made.workers * made.per_worker >= calls


@pytest.mark.parametrize(("calls", "ports"), [(5, "10000-10047"), (5, "20000-20100"), (50, "10000-10999")])
def test_no_port_is_two_workers(tmp_path: Path, calls: int, ports: str) -> None:
    config, made = office(tmp_path, calls, ports)
    taken = [
        port for n in range(made.workers) for port in range(made.ports_of(n)[0], made.ports_of(n)[1] + 1)
    ]
    assert len(taken) == len({*taken})
    assert min(taken) >= config.trunk.rtp_ports.first and max(taken) <= config.trunk.rtp_ports.last
    for index in range(made.workers):
        first, last = made.ports_of(index)
        assert first % 2 == 0 and last - first + 1 >= 8 * made.per_worker


def test_more_calls_leave_the_ports_of_those_that_are_there(tmp_path: Path) -> None:
    _, before = office(tmp_path, 5)
    changed, _ = office(tmp_path, 8)
    after = widened(changed, before)
    assert (after.calls, after.workers) == (8, 4)
    assert [after.ports_of(n) for n in range(3)] == [before.ports_of(n) for n in range(3)]


LARGE = EngineLimits(legs=512, players=1024, handles=4096, slots=16384, files=20000)


@pytest.mark.parametrize(
    ("limits", "calls", "decides"),
    [
        (EngineLimits(legs=4), 2, "legs"),
        (EngineLimits(legs=512), 7, "players"),  # a build that has raised one limit alone
        (replace(LARGE, handles=64), 10, "handles"),
        (replace(LARGE, slots=254), 17, "slots"),
        (replace(LARGE, files=1024), 46, "files"),
        (LARGE, 255, "players"),
        (EngineLimits(legs=2, players=1), 1, "players"),
    ],
)
def test_what_there_is_least_of_decides(limits: EngineLimits, calls: int, decides: str) -> None:
    assert (limits.calls, limits.decides) == (calls, decides)
    assert limits.alone <= calls and limits.usable_legs <= limits.legs
    if decides in NAMES:
        assert str(limits).endswith(f"{calls} call{'s' * (calls > 1)} a process, for its {NAMES[decides]}")


@pytest.mark.parametrize(
    ("limits", "keys", "follows"),
    [
        (EngineLimits(legs=4), "calls = 2", (2, 12, True)),
        (LARGE, "calls = 2", (25, 40, False)),
        (LARGE, "calls = 26", (25, 40, True)),
        (LARGE, "calls = 26\ncalls_per_process = 100", (100, 40, False)),
        (LARGE, "calls = 26\ncalls_per_process = 5", (5, 30, True)),
        (replace(LARGE, handles=64), "calls = 26", (10, 12, True)),
    ],
)
def test_what_follows_from_how_many_calls_a_process_takes(
    tmp_path: Path, limits: EngineLimits, keys: str, follows: tuple[int, int, bool]
) -> None:
    config = read(with_keys("capacity", keys, SMALL), tmp_path / "config.toml")
    found = calls_a_process(config, limits), invites_per_s(config, limits), needs_edge(config, limits)
    assert found == follows
    given = with_keys("edge", "invites_per_s = 7", with_keys("capacity", keys, SMALL))
    assert invites_per_s(read(given, tmp_path / "config.toml"), limits) == 7
