"""`init`: a directory that works as it stands, and nothing lost that was there."""

import stat
from pathlib import Path

import pytest

from media.notice import inspect_prompt
from sipagent.config import load
from sipagent.init_config import init, template

SHIPPED = Path(__file__).parent.parent / "config.toml"


def test_the_template_is_the_shipped_file() -> None:
    assert template() == SHIPPED.read_text()


def test_what_it_writes_loads_and_its_prompts_can_be_heard(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "agent"
    assert init(directory) == [directory / "config.toml", directory / "prompts", directory / "recordings"]
    config = load(directory / "config.toml")
    for prompts in config.prompt_sets():
        for name in ("notice", "welcome", "refused", "confirm", "closed", "unavailable", "hold_music"):
            path: Path = getattr(prompts, name)
            assert path.is_relative_to(directory)
            inspect_prompt(path)
    assert inspect_prompt(config.prompts.notice).words
    assert inspect_prompt(directory / "prompts" / "en" / "notice_opt_in.wav").words
    assert stat.S_IMODE((directory / "recordings").stat().st_mode) == 0o700
    assert not list(directory.rglob("*.py"))


def test_a_relative_directory_gives_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert init(Path())[2] == Path("recordings")
    assert (tmp_path / "config.toml").is_file()


@pytest.mark.parametrize("there", ["config.toml", "prompts"])
def test_it_overwrites_nothing(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(FileExistsError, match="is there already; nothing was written"):
        init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "config.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        init(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
