"""`init`: a directory that works as it stands, by examples or a file of answers, and nothing lost that was
there. At a terminal: test_init_questions."""

import os
import re
import stat
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import soundfile

from media.prompt import inspect_prompt
from retention.vault import new_pair, read_identity, read_public
from sipagent.cli import init as init_directory
from sipagent.cli.init import (
    COMMENT,
    Place,
    ServiceUser,
    filled,
    over,
    place_of,
    suggested_listen,
    suggested_uri,
    template,
)
from sipagent.config.load import Config, load
from tests.configured import init_examples
from tests.office import Office
from tests.raising import no_room

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
NEW = "new_key = true"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the examples ---


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
    with soundfile.SoundFile(config.prompts.notice) as copied:
        assert copied.comment.startswith("Synthetic speech")
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


def test_a_key_that_was_a_comment_comes_into_force_in_its_place_and_every_key_can_be_given() -> None:
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
    everything = tomllib.loads(re.sub(r"^# (?=\[|[a-z_]+ = )", "", template(), flags=re.MULTILINE))
    assert tomllib.loads(filled(template(), everything)) == everything


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
    assert "is there already" in office.fails(1, "init", made)
    key = office.folder / "open" / "keys" / "recordings.key"
    said = f"no terminal to ask for a passphrase at, so {key} has none: whoever gets it can listen"
    result = office.run("init", office.folder / "open")
    assert (result.code, result.err) == (0, f"sipagent: {said}\n")
    assert read_identity(key, lambda: pytest.fail("asked"))
    assert result.out.splitlines()[-1] == (
        f"{office.folder / 'open' / 'config.toml'}: service.name, service.controller, "
        "service.controller_contact, service.dpo_contact are examples: "
        "replace them before a network can call."
    )
    silent = office.run("init", office.folder / "other", "--no-passphrase")
    assert (silent.code, silent.err) == (0, "")


def test_its_comments_are_in_the_language_of_who_writes_it(office: Office) -> None:
    """And nothing else is: the same keys, in force or not, with the same values."""
    texts = []
    for language in ("en", "fr"):
        made = office.folder / language
        assert office.run("init", made, "--no-passphrase", "--lang", language).code == 0
        texts.append((made / "config.toml").read_text(encoding="utf-8"))
    english, french = texts
    assert "# RGPD, article 4, point 7\n" in french and "# Les chemins partent de ce fichier." in french
    assert "GDPR" in english and "Les chemins" not in english
    codes = [[found[1] for found in COMMENT.finditer(text)] for text in texts]
    assert codes[0] == codes[1] and len(english.splitlines()) == len(french.splitlines())
    assert tomllib.loads(COMMENT.sub(r"\1", english)) == tomllib.loads(COMMENT.sub(r"\1", french))


# --- a file of answers becomes a configuration, or one line says what is wrong with it ---


def answers(office: Office, text: str) -> Path:
    (office.folder / "answers.toml").write_text(text)
    return office.folder / "answers.toml"


def made(office: Office, text: str) -> tuple[Path, Config]:
    """What a file of answers makes, without a passphrase."""
    folder = office.folder / "made"
    result = office.run("init", "--no-passphrase", "--answers", answers(office, text), folder)
    assert (result.code, result.err) == (0, ""), result
    return folder, load(folder / "config.toml")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any would be called on loopback."""
    monkeypatch.setattr(init_directory, "_own_address", lambda _: "192.168.1.7")


@pytest.mark.usefixtures("network")
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


def test_existing_public_keys_are_copied_but_one_that_lies_there_stays(office: Office) -> None:
    stems = [office.folder / folder / "durand" for folder in ("made/keys", "a", "b")]
    pairs = [new_pair(stem, None, stem.parent.name) for stem in stems]
    stems[0].with_suffix(".key").unlink()
    listed = ", ".join(f'"{stem.relative_to(office.folder)}.pub"' for stem in stems)
    folder, config = made(office, SMALL.replace(NEW, f"recipients = [{listed}]"))
    names = ("durand", "durand-2", "durand-3")
    assert config.recording.recipients == tuple(folder / f"keys/{name}.pub" for name in names)
    read = [read_public(path) for path in config.recording.recipients]
    assert read == [read_public(public) for public, _ in pairs]
    assert not list(folder.rglob("*.key"))


@pytest.mark.usefixtures("network")
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


def test_a_new_key_wants_a_passphrase_or_a_word_that_it_has_none(office: Office) -> None:
    folder = office.folder / "made"
    for line, said in (
        ("", "missing; accepted: a file that holds it in one line, or --no-passphrase"),
        ('passphrase_file = "no"', "no: No such file"),
        ('passphrase_file = "answers.toml"', "holds no passphrase"),
        ("passphrase_file = 3", "3 is not a text in quotes"),
    ):
        told = office.fails(2, "init", "--answers", answers(office, f"{SMALL}\n{line}\n"), folder)
        assert "recording.passphrase_file: " in told and said in told and not folder.exists()
    assert "no such file" in office.fails(2, "init", "--answers", office.folder / "absent", folder)
    (office.folder / "passphrase").write_text("quatre mots\n")
    file = answers(office, SMALL + 'passphrase_file = "passphrase"\n')
    result = office.run("init", "--answers", file, folder)
    assert result.code == 0 and "quatre mots" not in result.out + result.err
    private = folder / "keys" / "recordings.key"
    assert read_identity(private, lambda: "quatre mots")
    assert result.out.splitlines()[-1].startswith(f"Move {private} to the machine of whoever listens")


def test_what_was_begun_is_taken_back(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init_directory, "new_pair", no_room("keys/recordings.key"))
    (office.folder / "there").mkdir()
    file = answers(office, REGISTERING)
    for where in ("new/deep", "there"):
        said = office.fails(1, "init", "--no-passphrase", "--answers", file, office.folder / where)
        assert "No space left" in said
    assert not (office.folder / "new").exists() and not list((office.folder / "there").iterdir())


def test_a_trunk_on_this_machine_is_listened_to_there() -> None:
    for trunk, uri in (
        ({"registrar": "sip:127.0.0.1", "username": "a"}, "sip:a@127.0.0.1"),
        ({"registrar": "sip:[::1]:5080", "username": "a"}, "sip:a@[::1]"),
        ({"allowed_sources": ["127.0.0.0/8", "::1"]}, "sip:agent@127.0.0.1"),
    ):
        assert suggested_listen(trunk) == "127.0.0.1:5060"
        assert suggested_uri({**trunk, "listen": "127.0.0.1:5060"}) == uri


def test_a_trunk_that_calls_over_ipv6_is_listened_to_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside IPv4, where it has both."""
    monkeypatch.setattr(init_directory, "_own_address", lambda version: f"{'2001:db8::' * (version == 6)}7")
    for sources, listen, ipv6 in (
        (["192.0.2.10"], "7:5060", None),
        (["2001:db8:1::/64"], "[2001:db8::7]:5060", None),
        (["192.0.2.10", "2001:db8:1::/64"], "7:5060", "[2001:db8::7]:5060"),
    ):
        trunk: dict[str, Any] = {"allowed_sources": sources}
        init_directory._settle_trunk(trunk)
        assert (trunk["listen"], trunk.get("listen_ipv6")) == (listen, ipv6)


# --- an installation ---


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
