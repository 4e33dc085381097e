"""The folder in which colleagues' voices are kept, as it is written and read."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.training.enrolled import (
    EnrolledError,
    EnrolledPerson,
    Saying,
    enrolled,
    left_out,
    read_person,
    sayings_of,
    usable,
    write_person,
)

AT = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
SAYINGS = (Saying("01.wav", "Je refuse.", "je refuse"), Saying("02.wav", "Il fait beau.", None))


def kept(folder: Path, name: str = "Ann Martin") -> EnrolledPerson:
    person = EnrolledPerson(folder, name, "fr", "201", AT, AT.replace(year=2027), SAYINGS)
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


def test_a_date_without_a_zone_is_refused(tmp_path: Path) -> None:
    file = kept(tmp_path / "ann").folder / "person.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"expires_at": "2027-01-01T00:00:00"}))
    with pytest.raises(EnrolledError, match="nobody's voice: expires_at is without a zone"):
        enrolled(tmp_path)


# --- who is trained on ---


def speaking(folder: Path) -> EnrolledPerson:
    """With sounds that can be read."""
    person = kept(folder)
    for each in SAYINGS:
        soundfile.write(folder / each.file, np.zeros(800, dtype=np.int16), 8000)
    return person


def test_who_may_not_be_trained_on_is_left_out_and_why(tmp_path: Path) -> None:
    ann = speaking(tmp_path / "ann")
    gone, abroad = replace(ann, expires_at=AT), replace(ann, language="en")
    mute = replace(ann, sayings=SAYINGS[1:])
    assert usable([ann, gone, abroad, mute], "je refuse", "fr", AT) == (
        [ann],
        [(gone, "expired"), (abroad, "language"), (mute, "phrase")],
    )
    assert usable([ann], "je refuse", "fr", AT.replace(year=2027) - timedelta(seconds=1))[0] == [ann]


def test_a_phrase_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    person = replace(
        kept(tmp_path / "ann"), sayings=(Saying("01.wav", "", "Pas d’enregistrement !"), SAYINGS[1])
    )
    assert sayings_of(person, "pas d'enregistrement") == [tmp_path / "ann/01.wav"]
    assert sayings_of(person, None) == [tmp_path / "ann/02.wav"]
    assert sayings_of(person, "je refuse") == []


def test_a_sound_that_cannot_be_trained_on_is_said(tmp_path: Path) -> None:
    ann = kept(tmp_path / "ann")
    with pytest.raises(EnrolledError, match=r"ann/01\.wav: no sound that can be read"):
        usable([ann], "je refuse", "fr", AT)
    speaking(tmp_path / "bob")
    soundfile.write(tmp_path / "bob/02.wav", np.zeros((800, 2), dtype=np.int16), 8000)
    with pytest.raises(EnrolledError, match=r"bob/02\.wav: accepted: sound of one channel"):
        usable([read_person(tmp_path / "bob")], "je refuse", "fr", AT)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 10, 11, 57])
def test_each_of_three_or_more_is_left_out_once(count: int) -> None:
    turns = left_out(count)
    assert sorted(number for turn in turns for number in turn) == (list(range(count)) if count > 2 else [])
    assert len(turns) == (min(count, 10) if count > 2 else 0)
