"""Who may read a secret, as `check` sees it."""

import os

import pytest

from sipagent.check.private import others_may_read


@pytest.mark.parametrize(
    ("owner", "mode", "others"),
    [
        (990, 0o600, False),
        (990, 0o640, True),
        (990, 0o604, True),
        (0, 0o600, False),
        (0, 0o640, False),  # as `init` leaves it to the service's group
        (0, 0o660, True),
        (0, 0o644, True),
    ],
)
def test_a_secret_is_read_by_its_owner_or_by_the_group_that_root_gives_it_to(
    owner: int, mode: int, others: bool
) -> None:
    assert others_may_read(os.stat_result((mode, 0, 0, 1, owner, 990, 0, 0, 0, 0))) is others
