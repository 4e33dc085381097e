"""Whose turn it is: kept over a restart, and from the first one on where nothing readable says it."""

import stat
from pathlib import Path

import pytest

from sipagent.agent.operators import SIZE_LIMIT, Rota
from tests.driving import DESK, RULES, SECOND_DESK, staged, with_strategy


def test_what_was_kept_is_read_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "round_robin.json"
    assert Rota(path).last() is None
    for uri in (DESK, SECOND_DESK):
        Rota(path).keep(uri)
        assert Rota(path).last() == uri
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe", b"[]", b'"sip:201@pbx"', b'{"last": 7}', b'{"other": "sip:201@pbx"}',
        b"[" * SIZE_LIMIT, b'{"last": "' + b"a" * SIZE_LIMIT + b'"}',
    ],
)  # fmt: skip
def test_a_damaged_file_says_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "round_robin.json"
    path.write_bytes(content)
    assert Rota(path).last() is None
    Rota(path).keep(DESK)
    assert Rota(path).last() == DESK


def test_what_is_no_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "round_robin.json").mkdir()
    assert Rota(tmp_path / "round_robin.json").last() is None


def test_the_round_goes_on_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rota = Rota(tmp_path / "round_robin.json")
    rules = with_strategy("round_robin")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with staged(tmp_path / "one", monkeypatch, rules, rota=rota) as stage:
        leg, operator = stage.rung()
        stage.answered(operator)
        stage.gone(leg)
    assert rota.last() == DESK
    with staged(tmp_path / "two", monkeypatch, rules, rota=rota) as stage:
        stage.rung()
        assert stage.engine.ordered("dial")[0][0] == SECOND_DESK
    assert rota.last() == SECOND_DESK


def test_nothing_is_kept_of_other_strategies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rota = Rota(tmp_path / "round_robin.json")
    with staged(tmp_path, monkeypatch, RULES, rota=rota) as stage:
        stage.rung()
    assert rota.last() is None
