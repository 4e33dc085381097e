"""Each name in the tiers is that of a test, so that nothing is left out, or taken back, by an old name."""

from pathlib import Path

import pytest

from tests import tiers

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("named", [*tiers.FULL, *tiers.QUICK])
def test_what_is_named_is_there(named: str) -> None:
    file, _, test = named.partition("::")
    assert (FOLDER / file).exists()
    assert not test or f"\ndef {test.partition('[')[0]}(" in (FOLDER / file).read_text(encoding="utf-8")


def test_what_is_taken_back_was_left_out() -> None:
    assert [one for one in tiers.QUICK if not one.startswith(tiers.FULL)] == []
    module, *_ = {one.partition("::")[0] for one in tiers.QUICK}
    assert not tiers.left_out(f"tests/{module}") and tiers.left_out(f"tests/{module}::test_another")
