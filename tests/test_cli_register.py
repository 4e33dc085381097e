"""`sipagent register`: printed, written, renewed and compared."""

import json
from pathlib import Path

import pytest

from retention.vault import new_pair
from tests.office import Office
from tests.room import Room

LACKS = "to be completed in the configuration"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    room = Room(tmp_path / "agent")
    room.set("service", 'controller_contact = "mairie@ville.fr"\ndpo_contact = "dpo@ville.fr"')
    room.set("recording", 'justification = "a trial of one month"')
    return room


@pytest.fixture
def office(room: Room, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(room.folder, capsys)


def test_it_is_printed_in_the_services_language(room: Room, office: Office) -> None:
    french = office.run("register")
    assert (french.code, french.err) == (0, "")
    assert french.out.startswith(
        "<!-- sipagent register: fr -->\n# Enregistrement des appels\u00a0: Agglo J'écoute\n"
    )
    assert "«\u00a0Agglo J’écoute, bonjour. Votre appel peut être enregistré, pour la qualité" in french.out
    assert "# Call recording: Agglo" in office.run("register", "--lang", "en").out
    room.set("service", 'language = "de"')
    room.set("prompts", 'notice = "prompts/fr/notice.wav"')
    assert "# Call recording: Agglo" in office.run("register").out


def test_as_json(office: Office) -> None:
    printed = office.run("register", "--json")
    assert json.loads(printed.out)["dpo"] == {"contact": "dpo@ville.fr"}
    assert office.run("register", "--format", "json").out == printed.out


def test_twice_the_same(office: Office) -> None:
    assert office.run("register").out == office.run("register").out


def test_who_can_listen_is_told_by_name(room: Room, office: Office) -> None:
    new_pair(room.folder / "keys/durand", None, "Marie Durand")
    room.set("recording", 'recipients = ["keys/durand.pub"]')
    assert "**Écoute**, par clé privée\u00a0: Marie Durand (`" in office.run("register").out
    (room.folder / "keys/durand.pub").write_text("nonsense")
    assert "durand.pub: is not a public key" in office.fails(1, "register")


def test_what_is_lacking_is_a_warning(room: Room, office: Office) -> None:
    room.set("service", 'legal_basis = ""')
    printed = office.run("register")
    assert (printed.code, printed.err) == (0, f"sipagent: {LACKS}: service.legal_basis\n")
    assert "**à compléter** (`service.legal_basis`)" in printed.out


def test_a_notice_that_cannot_be_read(room: Room, office: Office) -> None:
    (room.folder / "prompts/fr/notice.wav").unlink()
    assert "notice.wav: does not exist" in office.fails(1, "register")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--check", "x.md", "--out", "y.md"), "--check knows format and language by FILE"),
        (("--check", "x.md", "--lang", "fr"), "--check knows format and language by FILE"),
        (("--strict",), "--strict goes with --check"),
        (("--force",), "--force goes with --out"),
        (("--json", "--lang", "fr"), "--lang goes with Markdown"),
        (("--json", "--format", "md"), "exclude each other"),
        (("--lang", "de"), "'de' is not one of 'fr', 'en'"),
    ],
)
def test_what_does_not_go_together(office: Office, words: tuple[str, ...], complaint: str) -> None:
    assert complaint in office.fails(2, "register", *words)


# --- written and renewed ---


def test_a_file_is_written_by_its_name(office: Office) -> None:
    markdown, as_json = office.folder / "register.md", office.folder / "register.json"
    assert office.run("register", "--lang", "en", "--out", markdown).out == f"{markdown}\n"
    assert office.run("register", "--out", as_json).code == 0
    assert markdown.read_text(encoding="utf-8") == office.run("register", "--lang", "en").out
    assert json.loads(as_json.read_text(encoding="utf-8"))["format"] == "sipagent-register-1"
    assert not list(office.folder.glob(".*"))


def test_only_the_entry_in_a_longer_register_is_renewed(room: Room, office: Office) -> None:
    file = office.folder / "register.md"
    english = office.run("register", "--lang", "en").out
    file.write_text(f"# All that we do\n\n{english}\nSigned by the mayor\n", encoding="utf-8")
    room.set("retention", 'period = "90 days"')
    assert office.run("register", "--out", file).code == 0
    renewed = file.read_text(encoding="utf-8")
    assert renewed.startswith("# All that we do\n\n<!--") and renewed.endswith("-->\n\nSigned by the mayor\n")
    assert "**Recordings**: 90 days" in renewed  # in the language that it had
    assert office.run("register", "--check", file).code == 0


def test_a_file_of_another_kind_is_left_alone(office: Office) -> None:
    file = office.folder / "notes.md"
    file.write_text("mine")
    assert "holds no entry that `sipagent register` wrote; --force replaces it" in office.fails(
        1, "register", "--out", file
    )
    assert file.read_text() == "mine"
    assert office.run("register", "--out", file, "--force").code == 0
    assert "is of the other format; --force replaces it" in office.fails(
        1, "register", "--out", file, "--format", "json"
    )
    nowhere = office.folder / "missing/register.md"
    assert "No such file or directory" in office.fails(1, "register", "--out", nowhere)


# --- compared ---


@pytest.mark.parametrize("options", [("--lang", "fr"), ("--lang", "en"), ("--format", "json")])
def test_a_file_that_has_fallen_behind(room: Room, office: Office, options: tuple[str, str]) -> None:
    file = office.folder / "register.txt"
    office.run("register", "--out", file, *options)
    current = office.run("register", "--check", file)
    assert (current.code, current.out, current.err) == (0, f"{file}: agrees with the configuration\n", "")
    room.set("retention", 'purposes = ["quality"]')
    behind = office.run("register", "--check", file)
    assert behind.code == 1
    assert behind.err == (
        f"sipagent: {file}: differs from the configuration in 2 statements; "
        f"`sipagent register --out {file}` renews it\n"
    )
    assert behind.out.count("(retention.purposes):\n  - ") == 2 and "+ " in behind.out
    assert office.run("register", "--out", file).code == 0
    assert office.run("register", "--check", file).code == 0


def test_what_differs_as_json(room: Room, office: Office) -> None:
    file = office.folder / "register.md"
    office.run("register", "--out", file)
    told = office.run("register", "--check", file, "--json")
    assert told.code == 0 and json.loads(told.out) == {
        "file": str(file),
        "format": "md",
        "language": "fr",
        "current": True,
        "differences": [],
        "to_complete": [],
    }
    room.set("retention", 'period = "90 days"')
    told = office.run("register", "--check", file, "--json")
    found = json.loads(told.out)
    assert (told.code, found["current"]) == (1, False)
    (one,) = found["differences"]
    assert one["where"].startswith("line ") and one["keys"][0] == "retention.period"
    assert one["file"] == "- **Enregistrements**\u00a0: 6\u00a0mois à compter de l’appel"
    assert one["now"] == "- **Enregistrements**\u00a0: 90\u00a0jours à compter de l’appel"


def test_how_a_file_is_laid_out_does_not_count(office: Office) -> None:
    file = office.folder / "register.md"
    text = office.run("register").out
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "  \r\n").replace("##", "\r\n##").encode())
    assert office.run("register", "--check", file).code == 0


def test_a_line_altered_added_or_taken_away(office: Office) -> None:
    file = office.folder / "register.md"
    rows = office.run("register").out.splitlines()
    period = next(place for place, row in enumerate(rows) if "**Enregistrements**" in row)
    for other in (["- **Enregistrements** : 2 ans"], [], [rows[period], "- invented"]):
        file.write_text("\n".join([*rows[:period], *other, *rows[period + 1 :]]), encoding="utf-8")
        assert office.run("register", "--check", file).code == 1


def test_a_value_altered_added_or_taken_away(office: Office) -> None:
    file = office.folder / "register.json"
    office.run("register", "--out", file)
    whole = json.loads(file.read_text(encoding="utf-8"))
    without = {key: value for key, value in whole.items() if key != "retention"}
    for other, where in (
        (whole | {"legal_basis": "none"}, "legal_basis"),
        (whole | {"invented": {"by": "somebody"}}, "invented.by"),
        (without, "retention.recordings"),
        (whole | {"retention": "6 months"}, "retention.recordings"),
    ):
        file.write_text(json.dumps(other), encoding="utf-8")
        found = json.loads(office.run("register", "--check", file, "--json").out)["differences"]
        assert where in {one["where"] for one in found}


def test_what_is_lacking_fails_a_strict_check_only(room: Room, office: Office) -> None:
    room.set("service", 'legal_basis = ""')
    file = office.folder / "register.md"
    office.run("register", "--out", file)
    lenient = office.run("register", "--check", file)
    assert lenient.code == 0 and lenient.err == f"sipagent: {LACKS}: service.legal_basis\n"
    strict = office.run("register", "--check", file, "--strict")
    assert strict.code == 1 and strict.err == f"sipagent: {LACKS}: service.legal_basis\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no entry that `sipagent register` wrote"),
        (b"# Register\n", "holds no entry that `sipagent register` wrote"),
        (b"\xff", "is not UTF-8 text"),
        (b"{", "is not JSON: "),
        (b"[]", "holds no entry"),
        (b"{}", "is JSON, but its format is not sipagent-register-1"),
        (b"<!-- sipagent register: de -->\n<!-- sipagent register: end -->", "is in 'de'; accepted: fr, en"),
        (b"<!-- sipagent register: fr -->\n", "has not one first and one last line of an entry"),
        (b"<!-- sipagent register: end -->\n<!-- sipagent register: fr -->\n", "has not one first"),
        (b"<!-- sipagent register: fr -->\n<!-- sipagent register: end -->\n" * 2, "has not one first"),
    ],
)
def test_what_is_no_entry(office: Office, content: bytes, complaint: str) -> None:
    file = office.folder / "register.md"
    file.write_bytes(content)
    assert complaint in office.fails(1, "register", "--check", file)
    assert "No such file" in office.fails(1, "register", "--check", office.folder / "none.md")
