"""What keeps every call from being recorded is known before one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from retention.vault import new_pair
from sipagent.agent.admission import obstacles, refuse_unrecordable
from sipagent.config.load import Config, ConfigError
from tests.configured import SMALL, read, with_keys
from tests.read_only import read_only

SEALED = with_keys("recording", 'recipients = ["ann.pub", "bob.pub"]', SMALL)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for name in ("ann", "bob"):
        new_pair(tmp_path / name, None, name)
    return read(SEALED, tmp_path / "config.toml")


def told(config: Config) -> list[str]:
    return [str(one).replace(f"{config.base}/", "") for one in obstacles(config)]


def test_with_keys_and_places_there_is_none(config: Config) -> None:
    """Nothing is made by looking."""
    before = sorted(config.base.iterdir())
    assert told(config) == []
    refuse_unrecordable(config)
    assert sorted(config.base.iterdir()) == before


def missing(path: Path) -> None:
    path.unlink()


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def private(path: Path) -> None:
    path.write_bytes(path.with_suffix(".key").read_bytes())


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (missing, "bob.pub: No such file or directory"),
        (damaged, "bob.pub: is not a public key; accepted: one line"),
        (private, "bob.pub: is an identity, which does not belong here"),
        (a_folder, "bob.pub: Is a directory"),
    ],
)
def test_a_key_that_nothing_can_be_sealed_to(
    config: Config, change: Callable[[Path], None], problem: str
) -> None:
    """One of several is enough: nobody is left out without a word."""
    change(config.base / "bob.pub")
    (said,) = told(config)
    assert said.startswith(f"recording.recipients: {problem}")
    with pytest.raises(
        ConfigError, match=r"config.toml: recording.recipients: .*bob.pub: .*; accepted: what"
    ):
        refuse_unrecordable(config)
    off = read(with_keys("recording", "enabled = false", SEALED), config.file)
    assert told(off) == []
    refuse_unrecordable(off)


@pytest.mark.parametrize(
    ("name", "key"), [("recordings", "recording.directory"), ("vault", "retention.database")]
)
def test_a_file_where_a_folder_is_wanted(config: Config, name: str, key: str) -> None:
    (config.base / name).write_text("in the way")
    assert told(config) == [f"{key}: {name} is not a directory"]
    with pytest.raises(ConfigError, match=rf"{key}: .*{name} is not a directory"):
        refuse_unrecordable(config)


def test_a_folder_within_a_file_and_a_link_to_nowhere(config: Config) -> None:
    (config.base / "file").write_text("in the way")
    deep = read(with_keys("recording", 'directory = "file/a/b"', SMALL), config.file)
    assert told(deep) == ["recording.directory: file is not a directory"]
    (config.base / "link").symlink_to(config.base / "nowhere")
    linked = read(with_keys("recording", 'directory = "link"', SMALL), config.file)
    assert told(linked) == ["recording.directory: link is not a directory"]


def test_stored_in_clear_needs_no_vault(config: Config) -> None:
    (config.base / "vault").write_text("in the way")
    assert told(read(SMALL, config.file)) == []


def test_what_the_machine_has_come_to_is_told_and_stops_nothing(config: Config) -> None:
    """A disk that is mounted read-only may be put right while calls go on."""
    (config.base / "recordings").mkdir()
    with read_only(config.base / "recordings", here=False):
        assert told(config) == ["recording.directory: recordings cannot be written to"]
        refuse_unrecordable(config)
    assert told(config) == []
