"""`init`: a directory that works as it stands, and nothing lost that was there."""

import re
import stat
import tomllib
from datetime import date
from pathlib import Path

import pytest

from media.prompt import inspect_prompt
from retention.vault import read_identity, read_public
from sipagent.cli.init_directory import filled, over, template
from sipagent.config.load import load
from tests.configured import init_examples
from tests.office import Office


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_it_writes_loads_and_its_prompts_can_be_heard(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "agent"
    public, private = (directory / "keys" / f"recordings.{half}" for half in ("pub", "key"))
    kept = directory / "recordings"
    made = [directory / "config.toml", directory / "prompts", public, private, kept]
    assert init_examples(directory, "quatre mots") == made
    config = load(directory / "config.toml")
    for prompts in config.prompt_sets():
        for name in ("notice", "welcome", "refused", "confirm", "closed", "unavailable", "hold_music"):
            path: Path = getattr(prompts, name)
            assert path.is_relative_to(directory)
            inspect_prompt(path)
    assert inspect_prompt(config.prompts.notice).words
    assert inspect_prompt(directory / "prompts" / "en" / "notice_opt_in.wav").words
    assert not list(directory.rglob("*.py"))
    assert config.recording.recipients == (public,)  # what is recorded is sealed to the pair
    identity = read_identity(private, lambda: "quatre mots")
    assert identity.public == read_public(public) and identity.public.comment.startswith("recordings@")
    assert (mode(private), mode(public), mode(kept)) == (0o600, 0o644, 0o700)
    assert mode(private.parent) & 0o055 == 0o055  # the agent may be another user


@pytest.mark.parametrize("there", ["config.toml", "prompts", "keys/recordings.pub", "keys/recordings.key"])
def test_it_overwrites_nothing(tmp_path: Path, there: str) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(FileExistsError, match="is there already; nothing was written"):
        init_examples(tmp_path, None)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / there]
    assert (tmp_path / there).read_text() == "mine"
    (tmp_path / there).unlink()
    (tmp_path / there).symlink_to(tmp_path / "elsewhere")  # which leads nowhere
    with pytest.raises(FileExistsError):
        init_examples(tmp_path, None)
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_that_was_a_comment_comes_into_force_in_its_place() -> None:
    values = {
        "trunk": {"registrar": "sip:trunk.example.net", "username": "agent"},
        "hours": {"week": {"mon": "08:00-12:00"}, "closed": [date(2026, 12, 24)]},
        "metrics": {"listen": "127.0.0.1:9464"},
        "recording": {"window": [{"days": "mon", "share": 0.2}]},
        "prompts": {"en": {"notice": "prompts/en/notice.wav"}},
        "operators": {"password_env": "PASSWORD"},  # which has no line of its own
    }
    after = filled(template(), values)
    assert tomllib.loads(after) == over(tomllib.loads(template()), values)
    (line,) = (line for line in after.splitlines() if line.startswith("registrar"))
    assert line.endswith("# absent: no registration, a trunk by address")
    assert line.index("# ") == 46
    assert "# password_file =" in after and "\n# [hours]" not in after and "\n[hours] " in after


def test_every_key_can_be_given() -> None:
    everything = re.sub(r"^# (?=\[|[a-z_]+ = )", "", template(), flags=re.MULTILINE)
    values = tomllib.loads(everything)
    assert tomllib.loads(filled(template(), values)) == values


def test_the_command_tells_what_it_wrote_and_where_the_key_has_to_go(office: Office) -> None:
    made, passphrase = office.folder / "made", office.folder / "passphrase"
    passphrase.write_text("quatre mots\n")
    result = office.run("init", made, "--passphrase-file", passphrase)
    assert (result.code, result.err) == (0, "")
    for said in (
        f"wrote {made / 'config.toml'}",
        "A refusal that is spoken is heard, too",
        f"Move {made / 'keys' / 'recordings.key'} to the machine of whoever listens",
        "recording.share is 0.1",  # the regulator accepts no systematic recording
        "To try it, set 1.0",
    ):
        assert said in result.out
    assert "quatre mots" not in result.out
    lines = [(made / "config.toml").read_text().splitlines(), template().splitlines()]
    share, shipped = (next(line for line in one if line.startswith("share")) for one in lines)
    assert share == shipped.replace("1.0", "0.1") and load(made / "config.toml").recording.share == 0.1
    assert read_identity(made / "keys" / "recordings.key", lambda: "quatre mots")
    assert "is there already" in office.fails(1, "init", made)


def test_without_a_terminal_it_asks_nothing_and_says_that_the_key_is_open(office: Office) -> None:
    made = office.folder / "made"
    key = made / "keys" / "recordings.key"
    said = f"no terminal to ask for a passphrase at, so {key} has none: whoever gets it can listen"
    result = office.run("init", made)
    assert (result.code, result.err) == (0, f"sipagent: {said}\n")
    assert read_identity(key, lambda: pytest.fail("asked"))
    assert result.out.splitlines()[-1] == (
        f"{made / 'config.toml'}: service.name, service.controller, service.controller_contact, "
        "service.dpo_contact are examples: replace them before a network can call."
    )
    silent = office.run("init", office.folder / "other", "--no-passphrase")
    assert (silent.code, silent.err) == (0, "")
