"""The folder in which colleagues' voices are kept, as it is written and read."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from media.training.enrolled import EnrolledError, Person, Saying, enrolled, read_person, write_person

AT = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
SAYINGS = (Saying("01.wav", "Je refuse.", "je refuse"), Saying("02.wav", "Il fait beau.", None))


def kept(folder: Path, name: str = "Ann Martin") -> Person:
    person = Person(folder, name, "fr", "201", AT, AT.replace(year=2027), SAYINGS)
    folder.mkdir()
    for each in SAYINGS:
        (folder / each.file).touch()
    write_person(folder, person)
    return person


def test_what_is_written_is_read(tmp_path: Path) -> None:
    people = [kept(tmp_path / "ann", "Ann"), kept(tmp_path / "zoé", "Zoé")]
    (tmp_path / ".half").mkdir()
    assert enrolled(tmp_path) == people
    assert people[0].said("je refuse") == [tmp_path / "ann" / "01.wav"]
    assert people[0].said(None) == [tmp_path / "ann" / "02.wav"]
    assert enrolled(tmp_path / "absent") == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}'])
def test_what_is_nobodys_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    kept(tmp_path / "ann")
    (tmp_path / "ann" / "person.json").write_text(text)
    with pytest.raises(EnrolledError, match=r"^\S+ann: nobody's voice: .+$"):
        enrolled(tmp_path)


def test_a_sound_that_is_missing_is_said(tmp_path: Path) -> None:
    kept(tmp_path / "ann")
    (tmp_path / "ann" / "02.wav").unlink()
    with pytest.raises(EnrolledError, match=r"ann: 02\.wav is missing"):
        read_person(tmp_path / "ann")
