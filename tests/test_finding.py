import pytest

from sipagent.config.errors import counted


@pytest.mark.parametrize(
    ("count", "few", "entries"),
    [(0, "0 calls", "0 entries"), (1, "1 call", "1 entry"), (2, "2 calls", "2 entries")],
)
def test_one_is_no_plural(count: int, few: str, entries: str) -> None:
    assert counted(count, "call") == few
    assert counted(count, "entry", "entries") == entries
