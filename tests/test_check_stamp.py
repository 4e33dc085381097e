"""What `check` says of the time stamping that is configured."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention import stamps
from retention.archive import Archive
from retention.records import Access
from retention.stamps import stamp_head
from sipagent.check.retention import STAMP_LATE, stamp_findings
from sipagent.config.errors import Finding
from sipagent.config.load import Config
from tests import old_stamp
from tests.configured import SMALL, read, with_keys
from tests.peers.tsa import Authority

URL = 'timestamp_url = "https://tsa.example.net"\n'
CA = 'timestamp_ca = "tsa.pem"'


@pytest.fixture
def configured(tmp_path: Path) -> Config:
    return read(with_keys("retention", URL + CA), tmp_path / "config.toml")


def found(config: Config) -> list[tuple[str, str, str]]:
    return [(one.level, one.what, one.detail) for one in stamp_findings(config)]


def test_where_none_are_configured_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "find_spec", lambda name: None)
    assert found(read(SMALL)) == []


def test_all_is_well(configured: Config, tmp_path: Path) -> None:
    (tmp_path / "tsa.pem").write_text(old_stamp.CA)
    assert found(configured) == [
        ("ok", "retention.timestamp_url", "https://tsa.example.net"),
        ("ok", "retention.timestamp_ca", f"{tmp_path / 'tsa.pem'} vouches by CN=Root"),
    ]


def test_certificates_that_cannot_be_read(configured: Config, tmp_path: Path) -> None:
    file = tmp_path / "tsa.pem"
    said = f"{file}: No such file or directory"
    assert found(configured)[1:] == [("error", "retention.timestamp_ca", said)]
    file.touch()
    said = f"{file}: holds no certificates in PEM form"
    assert found(configured)[1:] == [("error", "retention.timestamp_ca", said)]


def test_certificates_without_a_root(configured: Config, tmp_path: Path) -> None:
    middle = Authority(tmp_path / "tsa").folder / "middle.pem"
    middle.rename(tmp_path / "tsa.pem")
    level, what, detail = found(configured)[1]
    assert (level, what) == ("error", "retention.timestamp_ca") and "no root among its certificates" in detail


def test_stamps_that_no_longer_come(archive: Archive, tsa: Authority, tmp_path: Path) -> None:
    config = read(with_keys("retention", URL + 'timestamp_ca = "tsa/ca.pem"'), tmp_path / "config.toml")

    def said(at: datetime | None = None) -> tuple[str, str]:
        *_, last = stamp_findings(config, at)
        assert last.what == "stamps"
        return last.level, last.detail

    assert said() == ("warning", "none yet: see `sipagent stamp`")
    made = stamp_head(archive.store, tsa.url, tsa.ca)
    assert made is not None
    detail = f"the newest, of entry {made.seq}, is from {made.at:%Y-%m-%d %H:%M} UTC"
    late = made.at + STAMP_LATE + timedelta(seconds=1)
    assert said() == said(late) == ("ok", detail)
    archive.store.add_access(Access(at=datetime.now(UTC), action="purge"))
    assert said(made.at + STAMP_LATE) == ("ok", detail)
    assert said(late) == ("warning", f"{detail}, and more was written since: see `sipagent stamp`")
    made.path.write_bytes(b"")
    assert said() == ("error", f"stamps/{made.seq}.tsr: is not a time stamp response")


def test_without_the_library(configured: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "find_spec", lambda name: None)
    assert list(stamp_findings(configured)) == [
        Finding("error", "retention.timestamp_url", stamps.NO_LIBRARY)
    ]
    only_ca = read(with_keys("retention", CA))
    assert found(only_ca) == [("error", "retention.timestamp_ca", stamps.NO_LIBRARY)]
