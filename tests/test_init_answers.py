"""`init --answers`: what a file says becomes a configuration, or one line says what is wrong with it."""

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from retention.vault import new_pair, read_identity, read_public
from sipagent.cli import init_directory
from sipagent.cli.init_directory import Place, ServiceUser, place_of, suggested_listen, suggested_uri
from sipagent.config.load import Config, load
from tests.office import Office

SMALL = """
[service]
name = "Allô Mairie"
controller = "Commune de Laon"
controller_contact = "mairie@laon.fr"
dpo_contact = "dpo@laon.fr"
[trunk]
allowed_sources = ["192.0.2.0/24"]
[operators]
extensions = ["sip:201@192.168.1.2"]
[recording]
new_key = true
"""
REGISTERING = SMALL.replace(
    'allowed_sources = ["192.0.2.0/24"]',
    'registrar = "sip:trunk.example.net"\nusername = "00333@x"\npassword = "s3cret é"',
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def answers(office: Office, text: str) -> Path:
    (office.folder / "answers.toml").write_text(text)
    return office.folder / "answers.toml"


def made(office: Office, text: str, *words: str) -> tuple[Path, Config]:
    """What a file of answers makes, without a passphrase."""
    folder = office.folder / "made"
    result = office.run("init", "--no-passphrase", "--answers", answers(office, text), *words, folder)
    assert (result.code, result.err) == (0, ""), result
    return folder, load(folder / "config.toml")


def test_what_is_answered_stands_in_the_configuration(office: Office) -> None:
    folder, config = made(office, SMALL + "[capacity]\ncalls = 4\n")
    assert config.service.name == "Allô Mairie" and config.service.dpo_contact == "dpo@laon.fr"
    assert config.operators.extensions == ("sip:201@192.168.1.2",)
    assert config.capacity.calls == 4  # any key of the configuration may be answered
    assert config.recording.share == 0.1 and "public" in config.service.legal_basis
    assert config.recording.recipients == (folder / "keys" / "recordings.pub",)
    assert not config.trunk.listen.is_loopback and "GDPR article 4(7)" in config.file.read_text()
    assert not (folder / "secrets").exists()


def test_the_password_gets_a_file_of_its_own_and_english_answers_english_prompts(office: Office) -> None:
    folder, config = made(office, REGISTERING.replace("[trunk]", 'language = "en"\n[trunk]'))
    login = config.trunk_login({})
    assert login is not None and (login.username, login.password) == ("00333@x", "s3cret é")
    assert config.trunk.uri == "sip:00333%40x@trunk.example.net" and config.trunk.allowed_sources == ()
    assert mode(folder / "secrets" / "trunk-password") == 0o600
    assert "s3cret" not in config.file.read_text()
    assert config.service.legal_basis.startswith("task in the public interest")
    assert {path.parent.name for path in (config.prompts.notice, config.prompts.refused)} == {"en"}


def test_a_passphrase_comes_from_a_file_beside_the_answers(office: Office) -> None:
    (office.folder / "passphrase").write_text("quatre mots\n")
    file = answers(office, SMALL + 'passphrase_file = "passphrase"\n')
    result = office.run("init", "--answers", file, office.folder / "made")
    assert result.code == 0 and "quatre mots" not in result.out + result.err
    private = office.folder / "made" / "keys" / "recordings.key"
    assert read_identity(private, lambda: "quatre mots")
    assert result.out.splitlines()[-1].startswith(f"Move {private} to the machine of whoever listens")


def test_existing_public_keys_are_copied_but_one_that_lies_there_stays(office: Office) -> None:
    stems = [office.folder / folder / "durand" for folder in ("made/keys", "a", "b")]
    pairs = [new_pair(stem, None, stem.parent.name) for stem in stems]
    stems[0].with_suffix(".key").unlink()
    listed = ", ".join(f'"{stem.relative_to(office.folder)}.pub"' for stem in stems)
    folder, config = made(office, SMALL.replace("new_key = true", f"recipients = [{listed}]"))
    names = ("durand", "durand-2", "durand-3")
    assert config.recording.recipients == tuple(folder / f"keys/{name}.pub" for name in names)
    read = [read_public(path) for path in config.recording.recipients]
    assert read == [read_public(public) for public, _ in pairs]
    assert not list(folder.rglob("*.key"))


NEW = "new_key = true"


@pytest.mark.parametrize(("old", "new", "said"), [
    ('name = "Allô Mairie"\n', "", "service.name: missing; accepted: the name of the service"),
    ('"dpo@laon.fr"', '""', "service.dpo_contact: is empty; accepted: how to reach"),
    ('allowed_sources = ["192.0.2.0/24"]\n', "", "trunk.allowed_sources: missing; accepted: a list such as"),
    ('["192.0.2.0/24"]', "[]", "trunk.allowed_sources: empty, and there is no registrar"),
    (NEW, "", "recording.recipients: missing; accepted: a list of public keys that exist, or"),
    (NEW, 'recipients = ["no.pub"]', "recording.recipients[0]: "),
    (NEW, f"{NEW}\nshare = 1", "recording.justification: missing, where recording.share"),
    ('"Allô Mairie"', '"Agglo J\'écoute"', 'service.name: "Agglo J\'écoute" is the shipped example'),
    ("laon.fr\"\n[tr", "example.org\"\n[tr", "service.dpo_contact: 'dpo@example.org' is the shipped example"),
    ("[trunk]", '[trunk]\npassword = "x"', "trunk.password_file: given without a user name"),
    ("[trunk]", '[trunk]\nusername = "a"\npassword = ""', "trunk.password: is no line of text"),
    ("[trunk]", '[trunk]\nusername="a"\npassword="b"\npassword_file="c"', "trunk.password: given beside"),
    ("[trunk]", '[trunk]\nusername = "a"', "trunk.username: given without a password"),
])  # fmt: skip
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    office: Office, old: str, new: str, said: str
) -> None:
    assert old in SMALL
    file = answers(office, SMALL.replace(old, new, 1))
    line = office.fails(2, "init", "--no-passphrase", "--answers", file, office.folder / "made")
    assert f"sipagent: {file}: {said}" in line
    assert not (office.folder / "made").exists()


@pytest.mark.parametrize(("line", "said"), [
    ("", "missing; accepted: a file that holds it in one line, or --no-passphrase"),
    ('passphrase_file = "no"', "no: No such file"),
    ('passphrase_file = "answers.toml"', "holds no passphrase"),
    ("passphrase_file = 3", "3 is not a text in quotes"),
])  # fmt: skip
def test_a_new_key_wants_a_passphrase_or_a_word_that_it_has_none(
    office: Office, line: str, said: str
) -> None:
    file, folder = answers(office, f"{SMALL}\n{line}\n"), office.folder / "made"
    told = office.fails(2, "init", "--answers", file, folder)
    assert "recording.passphrase_file: " in told and said in told and not folder.exists()
    assert "no such file" in office.fails(2, "init", "--answers", office.folder / "absent", folder)


def test_what_was_begun_is_taken_back(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "keys/recordings.key")

    monkeypatch.setattr(init_directory, "new_pair", full)
    (office.folder / "there").mkdir()
    file = answers(office, REGISTERING)
    for where in ("new/deep", "there"):
        said = office.fails(1, "init", "--no-passphrase", "--answers", file, office.folder / where)
        assert "No space left" in said
    assert not (office.folder / "new").exists() and not list((office.folder / "there").iterdir())


@pytest.mark.parametrize(("trunk", "uri"), [
    ({"registrar": "sip:127.0.0.1", "username": "a"}, "sip:a@127.0.0.1"),
    ({"registrar": "sip:[::1]:5080", "username": "a"}, "sip:a@[::1]"),
    ({"allowed_sources": ["127.0.0.0/8", "::1"]}, "sip:agent@127.0.0.1"),
])  # fmt: skip
def test_a_trunk_on_this_machine_is_listened_to_there(trunk: dict[str, Any], uri: str) -> None:
    assert suggested_listen(trunk) == "127.0.0.1:5060"
    assert suggested_uri({**trunk, "listen": "127.0.0.1:5060"}) == uri


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if this folder were /etc/sipagent, and had a package's empty folders."""
    etc = tmp_path / "etc" / "sipagent"
    (etc / "prompts").mkdir(parents=True)
    monkeypatch.setattr(init_directory, "SYSTEM_CONFIG", etc / "config.toml")
    monkeypatch.setattr(init_directory, "STATE", tmp_path / "var" / "lib" / "sipagent")
    return etc


def test_an_installation_keeps_what_it_records_elsewhere(office: Office, installed: Path) -> None:
    result = office.run("init", "--no-passphrase", "--answers", answers(office, SMALL), installed)
    assert result.code == 0 and "sipagent check, then" in result.out
    config, state = load(installed / "config.toml"), office.folder / "var" / "lib" / "sipagent"
    assert config.recording.directory == state / "recordings"
    assert config.database == state / "retention.db"
    assert mode(state) == mode(state / "recordings") == 0o700
    assert tomllib.loads(config.file.read_text())["recording"]["directory"] == str(state / "recordings")
    assert config.recording.recipients == (installed / "keys" / "recordings.pub",)
    assert place_of(Path(os.path.relpath(installed))).state == state
    elsewhere = office.folder  # nothing is given away there
    assert place_of(elsewhere) == Place(folder=elsewhere)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_the_service_reads_the_configuration_and_owns_what_is_kept(
    office: Office, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init_directory, "_service", lambda: ServiceUser(4321, 4322))
    before = os.umask(0o077)
    try:
        result = office.run("init", "--no-passphrase", "--answers", answers(office, REGISTERING), installed)
    finally:
        os.umask(before)
    assert result.code == 0 and "runuser -u sipagent -- sipagent check" in result.out
    state = office.folder / "var" / "lib" / "sipagent"
    told = {
        path.relative_to(office.folder).as_posix(): (path.stat().st_uid, path.stat().st_gid, mode(path))
        for path in [*installed.rglob("*"), installed, state, state / "recordings"]
    }
    assert told.pop("etc/sipagent/keys/recordings.key") == (0, 0, 0o600)
    kept = {told.pop(name) for name in ("var/lib/sipagent", "var/lib/sipagent/recordings")}
    assert kept == {(4321, 4322, 0o700)}
    folders = {name for name in told if (office.folder / name).is_dir()}
    assert {told[name] for name in folders} == {(0, 4322, 0o750)}
    assert {told[name] for name in told.keys() - folders} == {(0, 4322, 0o640)}
    assert "etc/sipagent/secrets/trunk-password" in told
