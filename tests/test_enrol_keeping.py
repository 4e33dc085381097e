"""What is kept of a colleague: whole or not at all, read by who trains, forgotten with the heads, in time."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from media.hearing.embedding import HeadError
from media.training.enrolled import (
    EnrolledError,
    EnrolledPerson,
    Saying,
    enrolled,
    left_out,
    read_person,
    sayings_of,
    usable,
)
from sipagent.config.tables import folder_name
from sipagent.enrol import keeping
from sipagent.enrol.flow import ScriptStep
from sipagent.enrol.keeping import Colleague, TakenSaying, expire, forget, keep, voices
from tests.test_spotter import keep as keep_head

AT = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
ANN = Colleague("Ann Martin", "201", "fr")
SOUND = np.arange(800, dtype=np.int16)
TAKES = [
    TakenSaying(ScriptStep("say", "say", "je refuse", "je refuse"), SOUND),
    TakenSaying(ScriptStep("talk_1", "talk_1", "Il fait beau.", None), SOUND[::-1]),
]
DUE = AT + timedelta(days=30)


def kept(
    folder: Path, name: str = "Ann Martin", takes: Sequence[TakenSaying] = TAKES, days: int = 30
) -> EnrolledPerson:
    return keep(folder, replace(ANN, name=name), AT, days, takes, replaces=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def learnt(heads: Path, name: str, *voices: str) -> Path:
    """A head, and its card, that learnt from those."""
    heads.mkdir(exist_ok=True)
    (heads / f"{name}.md").write_text("card")
    return keep_head(heads / f"{name}.npz", (0.9, 0.1), ("pas de bande",), voices=voices)


# --- written and read ---


def test_what_is_kept_is_whole_private_and_read_by_who_trains(tmp_path: Path) -> None:
    folder = tmp_path / "voices"
    ann, zoe = kept(folder), kept(folder, "Zoé")
    (folder / ".half").mkdir()
    assert enrolled(folder) == [ann, zoe] and enrolled(tmp_path / "absent") == []
    assert (ann.name, ann.number, ann.language) == ("Ann Martin", "201", "fr")
    assert (ann.consented_at, ann.expires_at) == (AT, DUE)
    assert [path.name for path in sayings_of(ann, "je refuse")] == ["01.wav"]
    assert [path.name for path in sayings_of(ann, None)] == ["02.wav"]
    sound, rate = soundfile.read(ann.folder / "01.wav", dtype="int16")
    assert rate == 8000 and np.array_equal(sound, SOUND)
    assert soundfile.info(str(ann.folder / "01.wav")).subtype == "PCM_16"
    assert folder.stat().st_mode & 0o777 == ann.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in ann.folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *((text, r"^\S+ann_martin: nobody's voice: .+$") for text in ("", "[]", "{}", '{"name": 1}')),
        ({"expires_at": "2027-01-01T00:00:00"}, "nobody's voice: expires_at is without a zone"),
        (None, r"ann_martin: 02\.wav is missing"),
    ],
)
def test_what_is_nobodys_is_said_in_one_line(tmp_path: Path, text: object, told: str) -> None:
    place = kept(tmp_path).folder
    if text is None:
        (place / "02.wav").unlink()
    else:
        is_change = isinstance(text, dict)
        whole = json.dumps(json.loads((place / "person.json").read_text()) | text) if is_change else str(text)
        (place / "person.json").write_text(whole)
    with pytest.raises(EnrolledError, match=told):
        enrolled(tmp_path)


def test_who_enrols_again_replaces_what_was_there_where_that_is_allowed(tmp_path: Path) -> None:
    kept(tmp_path)
    person = kept(tmp_path, takes=TAKES[1:])
    assert [one.text for one in person.sayings] == ["Il fait beau."]
    with pytest.raises(OSError):
        keep(tmp_path, ANN, AT, 30, TAKES)  # nobody has allowed it
    assert enrolled(tmp_path) == [person] and names(tmp_path) == ["ann_martin"]


@pytest.mark.parametrize("fails", ["private_file", "write_person", "rename"])
@pytest.mark.parametrize("before", [False, True])
def test_a_fault_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, before: bool
) -> None:
    if before:
        kept(tmp_path)
    rename = Path.rename

    def fault(*given: Any) -> Any:
        if fails == "rename" and Path(str(given[0])).suffix != ".new":
            return rename(*given)
        raise OSError(28, "No space left on device", "01.wav")

    monkeypatch.setattr(Path if fails == "rename" else keeping, fails, fault)
    with pytest.raises(OSError, match="No space"):
        kept(tmp_path, takes=TAKES[1:])
    assert names(tmp_path) == ["ann_martin"] * before
    assert not before or len(read_person(tmp_path / "ann_martin").sayings) == 2


@pytest.mark.parametrize(
    ("name", "folder"),
    [("Ann Martin", "ann_martin"), ("Zoé  d'Été", "zoe_d_ete"), ("../x", "x"), ("…", ""), ("Ann-2", "ann_2")],
)
def test_a_name_makes_a_folder(name: str, folder: str) -> None:
    assert folder_name(name) == folder


# --- who is trained on ---


def test_who_may_not_be_trained_on_is_left_out_and_why(tmp_path: Path) -> None:
    ann = kept(tmp_path)
    abroad, mute = replace(ann, language="en"), replace(ann, sayings=ann.sayings[1:])
    assert usable([ann, abroad, mute], "je refuse", "fr", AT) == (
        [ann],
        [(abroad, "language"), (mute, "phrase")],
    )
    assert usable([ann], "je refuse", "fr", DUE - timedelta(seconds=1))[0] == [ann]
    assert usable([ann], "je refuse", "fr", DUE) == ([], [(ann, "expired")])
    written = replace(ann, sayings=(Saying("01.wav", "", "Pas d’enregistrement !"), ann.sayings[1]))
    assert sayings_of(written, "pas d'enregistrement") == [ann.folder / "01.wav"]  # however it is written
    assert sayings_of(written, None) == [ann.folder / "02.wav"] and sayings_of(written, "je refuse") == []


def test_a_sound_that_cannot_be_trained_on_is_said(tmp_path: Path) -> None:
    ann = kept(tmp_path)
    soundfile.write(ann.folder / "02.wav", np.zeros((800, 2), dtype=np.int16), 8000)
    with pytest.raises(EnrolledError, match=r"ann_martin/02\.wav: accepted: sound of one channel"):
        usable([ann], "je refuse", "fr", AT)
    (ann.folder / "01.wav").write_text("no sound")
    with pytest.raises(EnrolledError, match=r"ann_martin/01\.wav: no sound that can be read"):
        usable([ann], "je refuse", "fr", AT)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 10, 11, 57])
def test_each_of_three_or_more_is_left_out_once(count: int) -> None:
    turns = left_out(count)
    assert sorted(number for turn in turns for number in turn) == (list(range(count)) if count > 2 else [])
    assert len(turns) == (min(count, 10) if count > 2 else 0)


# --- forgotten ---


def test_forgetting_removes_the_sound_and_the_heads_that_learnt_from_it(tmp_path: Path) -> None:
    folder, heads = tmp_path / "voices", tmp_path / "heads"
    for name in ("Ann Martin", "Zoé"):
        kept(folder, name)
    hers = [learnt(heads, "one", "ann_martin", "zoe"), learnt(heads, "two", "ann_martin")]
    learnt(heads, "other", "zoe")
    learnt(heads, "synthetic")
    gone = forget(folder, heads, "ANN martin")
    assert (gone.voice, gone.sound, gone.heads) == ("ann_martin", True, tuple(hers))
    assert names(folder) == ["zoe"]
    assert names(heads) == ["other.md", "other.npz", "synthetic.md", "synthetic.npz"]
    again = forget(folder, heads, "Ann Martin")
    assert not again.sound and again.heads == ()
    assert not forget(folder, heads, "…").sound and names(folder) == ["zoe"]


def test_a_head_that_cannot_be_read_is_told_when_the_rest_has_gone(tmp_path: Path) -> None:
    folder, heads = tmp_path / "voices", tmp_path / "heads"
    kept(folder)
    learnt(heads, "zz", "ann_martin")
    (heads / "broken.npz").write_bytes(b"no head")
    with pytest.raises(HeadError, match="broken"):
        forget(folder, heads, "Ann Martin")
    assert names(folder) == [] and names(heads) == ["broken.npz"]


def test_what_has_expired_goes_and_the_rest_stays(tmp_path: Path) -> None:
    folder, heads = tmp_path / "voices", tmp_path / "heads"
    kept(folder)
    kept(folder, "Zoé", days=31)
    hers = learnt(heads, "one", "ann_martin")
    assert expire(folder, heads, DUE - timedelta(seconds=1)) == []
    (told,) = expire(folder, heads, DUE, dry=True)
    assert (told.voice, told.heads) == ("ann_martin", (hers,)) and hers.exists()
    assert [one.voice for one in expire(folder, heads, DUE)] == ["ann_martin"]
    assert names(folder) == ["zoe"] and names(heads) == []
    assert expire(tmp_path / "absent", heads, DUE) == []
    assert expire(folder, heads, AT + timedelta(days=9), 10) == []
    assert [one.voice for one in expire(folder, heads, AT + timedelta(days=10), 10)] == ["zoe"]


def test_a_folder_that_cannot_be_read_goes_at_the_longest_term(tmp_path: Path) -> None:
    place = kept(tmp_path).folder
    (place / "person.json").write_text("{")
    ((_, wrong),) = voices(tmp_path)
    assert isinstance(wrong, EnrolledError)
    os.utime(place, (AT.timestamp(),) * 2)
    assert expire(tmp_path, tmp_path, AT + timedelta(days=179)) == []
    assert len(expire(tmp_path, tmp_path, AT + timedelta(days=180))) == 1
    assert names(tmp_path) == []


def test_what_a_crash_has_left_goes_and_what_was_being_replaced_comes_back(tmp_path: Path) -> None:
    for name, left in (("Ann", ".ann.old"), ("Bea", ".bea.new"), ("Eve", ".eve.gone")):
        kept(tmp_path, name).folder.rename(tmp_path / left)
    shutil.copytree(kept(tmp_path, "Zoé").folder, tmp_path / ".zoe.old")
    for place in tmp_path.glob(".*"):
        os.utime(place, (AT.timestamp(),) * 2)
    expire(tmp_path, tmp_path, AT + timedelta(minutes=59))
    assert len(names(tmp_path)) == 5
    expire(tmp_path, tmp_path, AT + timedelta(minutes=61))
    assert names(tmp_path) == ["ann", "zoe"]
