"""What is kept of a colleague: whole or not at all, replaced, forgotten with the heads, gone in time."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.hearing.embedding import Head, HeadError, load_head, save_head
from media.training.enrolled import EnrolledError, enrolled, read_person
from sipagent.config.tables import folder_name
from sipagent.enrol import keeping
from sipagent.enrol.flow import ScriptStep
from sipagent.enrol.keeping import Colleague, TakenSaying, expire, forget, keep, voices
from tests.test_spotter import saying

AT = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
ANN = Colleague("Ann Martin", "201", "fr")
SOUND = np.arange(800, dtype=np.int16)
TAKES = [
    TakenSaying(ScriptStep("say", "say", "je refuse", "je refuse"), SOUND),
    TakenSaying(ScriptStep("talk_1", "talk_1", "Il fait beau.", None), SOUND[::-1]),
]


def kept(folder: Path, who: Colleague = ANN, takes: Sequence[TakenSaying] = TAKES, days: int = 30) -> Path:
    return keep(folder, who, AT, days, takes, replaces=True).folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def learnt(heads: Path, name: str, *voices: str) -> Path:
    """A head, and its card, that learnt from those."""
    heads.mkdir(exist_ok=True)
    head = Head("fr", ("pas de bande",), 0.9, 0.5, 0.95, 0.95, saying((0.9, 0.1)), voices=voices)
    save_head(heads / f"{name}.npz", head)
    (heads / f"{name}.md").write_text("card")
    return heads / f"{name}.npz"


def test_what_is_kept_is_read_by_who_trains(tmp_path: Path) -> None:
    folder = tmp_path / "voices"
    place = kept(folder)
    (person,) = enrolled(folder)
    assert (person.name, person.number, person.language) == ("Ann Martin", "201", "fr")
    assert (person.consented_at, person.expires_at) == (AT, AT + timedelta(days=30))
    assert [path.name for path in person.said("je refuse")] == ["01.wav"]
    assert [path.name for path in person.said(None)] == ["02.wav"]
    sound, rate = soundfile.read(place / "01.wav", dtype="int16")
    assert rate == 8000 and np.array_equal(sound, SOUND)
    assert soundfile.info(str(place / "01.wav")).subtype == "PCM_16"
    assert names(folder) == ["ann_martin"]
    assert folder.stat().st_mode & 0o777 == place.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}


def test_who_enrols_again_replaces_what_was_there_where_that_is_allowed(tmp_path: Path) -> None:
    kept(tmp_path)
    kept(tmp_path, takes=TAKES[1:])
    (person,) = enrolled(tmp_path)
    assert [one.text for one in person.sayings] == ["Il fait beau."]
    assert names(tmp_path) == ["ann_martin"]
    with pytest.raises(OSError):
        keep(tmp_path, ANN, AT, 30, TAKES)  # nobody has allowed it
    assert enrolled(tmp_path) == [person] and names(tmp_path) == ["ann_martin"]


@pytest.mark.parametrize("fails", ["write", "person", "rename"])
@pytest.mark.parametrize("before", [False, True])
def test_a_fault_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, before: bool
) -> None:
    if before:
        kept(tmp_path)

    def fault(*_: object) -> None:
        raise OSError(28, "No space left on device", "01.wav")

    if fails == "rename":
        rename = Path.rename

        def renamed(self: Path, to: Path) -> Path:
            return fault() if self.suffix == ".new" else rename(self, to)  # type: ignore[func-returns-value, return-value]

        monkeypatch.setattr(Path, "rename", renamed)
    else:
        monkeypatch.setattr(keeping, {"write": "private_file", "person": "write_person"}[fails], fault)
    with pytest.raises(OSError, match="No space"):
        kept(tmp_path, takes=TAKES[1:])
    assert names(tmp_path) == ["ann_martin"] * before
    assert not before or len(read_person(tmp_path / "ann_martin").sayings) == 2


def test_forgetting_removes_the_sound_and_the_heads_that_learnt_from_it(tmp_path: Path) -> None:
    folder, heads = tmp_path / "voices", tmp_path / "heads"
    kept(folder)
    kept(folder, replace(ANN, name="Zoé"))
    hers = [learnt(heads, "one", "ann_martin", "zoe"), learnt(heads, "two", "ann_martin")]
    learnt(heads, "other", "zoe")
    learnt(heads, "synthetic")
    gone = forget(folder, heads, "ANN martin")
    assert (gone.voice, gone.sound, gone.heads) == ("ann_martin", True, tuple(hers))
    assert names(folder) == ["zoe"]
    assert names(heads) == ["other.md", "other.npz", "synthetic.md", "synthetic.npz"]
    again = forget(folder, heads, "Ann Martin")
    assert not again.sound and again.heads == ()
    nobody = forget(folder, heads, "…")
    assert not nobody.sound and names(folder) == ["zoe"]


def test_a_head_that_cannot_be_read_is_told_when_the_rest_has_gone(tmp_path: Path) -> None:
    folder, heads = tmp_path / "voices", tmp_path / "heads"
    kept(folder)
    learnt(heads, "zz", "ann_martin")
    (heads / "broken.npz").write_bytes(b"no head")
    with pytest.raises(HeadError, match="broken"):
        forget(folder, heads, "Ann Martin")
    assert names(folder) == [] and names(heads) == ["broken.npz"]


def test_a_head_keeps_the_voices_that_it_learnt_from(tmp_path: Path) -> None:
    assert load_head(learnt(tmp_path, "one", "ann_martin", "zoe")).voices == ("ann_martin", "zoe")
    assert load_head(learnt(tmp_path, "two")).voices == ()


def test_what_has_expired_goes_and_the_rest_stays(tmp_path: Path) -> None:
    folder, heads = tmp_path / "voices", tmp_path / "heads"
    kept(folder)
    kept(folder, replace(ANN, name="Zoé"), days=31)
    hers = learnt(heads, "one", "ann_martin")
    due = AT + timedelta(days=30)
    assert expire(folder, heads, due - timedelta(seconds=1)) == []
    (told,) = expire(folder, heads, due, dry=True)
    assert (told.voice, told.heads) == ("ann_martin", (hers,)) and hers.exists()
    assert [one.voice for one in expire(folder, heads, due)] == ["ann_martin"]
    assert names(folder) == ["zoe"] and names(heads) == []
    assert expire(tmp_path / "absent", heads, due) == []
    assert expire(folder, heads, AT + timedelta(days=9), 10) == []
    assert [one.voice for one in expire(folder, heads, AT + timedelta(days=10), 10)] == ["zoe"]


def test_a_folder_that_cannot_be_read_goes_at_the_longest_term(tmp_path: Path) -> None:
    place = kept(tmp_path)
    (place / "person.json").write_text("{")
    ((_, wrong),) = voices(tmp_path)
    assert isinstance(wrong, EnrolledError)
    os.utime(place, (AT.timestamp(),) * 2)
    assert expire(tmp_path, tmp_path, AT + timedelta(days=179)) == []
    assert len(expire(tmp_path, tmp_path, AT + timedelta(days=180))) == 1
    assert names(tmp_path) == []


def test_what_a_crash_has_left_goes_and_what_was_being_replaced_comes_back(tmp_path: Path) -> None:
    for name, left in (("Ann", ".ann.old"), ("Bea", ".bea.new"), ("Eve", ".eve.gone")):
        kept(tmp_path, replace(ANN, name=name)).rename(tmp_path / left)
    shutil.copytree(kept(tmp_path, replace(ANN, name="Zoé")), tmp_path / ".zoe.old")
    for place in tmp_path.glob(".*"):
        os.utime(place, (AT.timestamp(),) * 2)
    expire(tmp_path, tmp_path, AT + timedelta(minutes=59))
    assert len(names(tmp_path)) == 5
    expire(tmp_path, tmp_path, AT + timedelta(minutes=61))
    assert names(tmp_path) == ["ann", "zoe"]


@pytest.mark.parametrize(
    ("name", "folder"),
    [("Ann Martin", "ann_martin"), ("Zoé  d'Été", "zoe_d_ete"), ("../x", "x"), ("…", ""), ("Ann-2", "ann_2")],
)
def test_a_name_makes_a_folder(name: str, folder: str) -> None:
    assert folder_name(name) == folder
