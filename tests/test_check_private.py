"""Who may read a secret, as `check` sees it."""

import os
from pathlib import Path

import pytest

from retention.accounts.file import FileAccounts
from sipagent.check.check import page_findings
from sipagent.check.keys import others_may_read
from tests.configured import SMALL, read, with_keys


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


def test_who_else_reads_what_the_page_keeps_for_itself(tmp_path: Path) -> None:
    text = with_keys("web", 'certificate = "web.pem"\nprivate_key = "web.key"', SMALL)
    config = read(text, tmp_path / "config.toml")
    assert list(page_findings(config)) == []
    with FileAccounts(config.places.accounts) as accounts:
        accounts.add("Ann", ["listener"])
    (tmp_path / "web.key").touch(0o600)
    assert list(page_findings(config)) == []
    for path in (config.places.accounts, tmp_path / "web.key"):
        path.chmod(0o644)
    found = [(one.level, one.what) for one in page_findings(config)]
    assert found == [("warning", "web.private_key"), ("warning", "accounts.db")]
    assert "mode 0644" in next(iter(page_findings(config))).detail
