import json
from pathlib import Path

import pytest

from tests.office import Office
from tests.room import Room


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "agent")


@pytest.fixture
def office(room: Room, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(room.folder, capsys)


def test_the_notices_as_json(room: Room, office: Office) -> None:
    room.in_english_too()
    french, english = json.loads(office.run("notice", "--json").out)
    assert (french.pop("words"), french.pop("sha256")) > ("", "")
    told = {"language": "fr", "numbers": [], "keys": [], "file": "prompts/fr/notice.wav"}
    assert french == told | {"duration_s": 20.274, "sample_rate": 8000}
    assert (english["language"], english["numbers"]) == ("en", ["+33323063007"])
    assert english["words"].startswith("Welcome to Agglo J’écoute.")
    (office.folder / "prompts/fr/notice.txt").unlink()
    assert json.loads(office.run("notice", "--json").out)[0]["words"] is None
    assert " words   –" in office.run("notice").out  # all the same
    (office.folder / "prompts/fr/notice.wav").unlink()
    assert "notice.wav: does not exist" in office.fails(1, "notice")


def test_lint(office: Office) -> None:
    good = office.run("notice", "--lint")
    assert good.code == 0 and good.out.endswith("\n0 errors, 2 warnings\n")
    assert "says mon-fri, 08:30" in good.out and "says an example of where the rest" in good.out
    assert "says the key that refuses (9)" in good.out
    (office.folder / "prompts/fr/notice.txt").write_text("Bonjour")
    bad = office.run("notice", "--lint")
    assert bad.code == 1 and "its words do not say that the call is recorded" in bad.out
    found = json.loads(office.run("notice", "--lint", "--json").out)
    assert {tuple(finding) for finding in found} == {("level", "what", "detail")}
    assert office.run("notice", "--lint", "--json").code == 1
