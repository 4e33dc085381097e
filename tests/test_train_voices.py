"""`train-keyword --voices`: colleagues count beside thousands, are left out in turn, and are not named."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.random import default_rng

from media.hearing.embedding import OTHER, Head, load_head
from media.hearing.keyword import Meaning
from media.training import own
from media.training.enrolled import EnrolledPerson, Saying, write_person
from media.training.features import SoundQuestions, gentle_line, packed, read, source_of
from sipagent.cli import keyword as cli_train
from sipagent.voice import own_keyword
from sipagent.voice.own_keyword import (
    Check,
    CheckedUtterance,
    Rate,
    Strangers,
    Trained,
    figures,
    figures_of_strangers,
)
from tests.office import Office
from tests.room import Room
from tests.test_train_keyword import PHRASE, check, head

NOW = datetime.now(UTC)
SHOWN = "recall, colleagues whom it was not trained on"


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(Room(tmp_path / "agent").folder, capsys)


def lend(folder: Path, phrase: str | None = PHRASE, *, code: str = "fr", days: int = 1) -> EnrolledPerson:
    """Somebody who says the phrase five times, and two other sentences."""
    folder.mkdir(parents=True)
    phrases = [phrase] * 5 + [None, None]
    sayings = tuple(Saying(f"{n:02d}.wav", each or "Bonjour.", each) for n, each in enumerate(phrases))
    for each in sayings:
        sound = default_rng(1).normal(size=8000) * 1000
        soundfile.write(folder / each.file, sound.astype(np.int16), 8000)
    person = EnrolledPerson(folder, folder.name, code, "201", NOW, NOW + timedelta(days=days), sayings)
    write_person(folder, person)
    return person


# --- what is trained on ---


def test_a_person_is_a_shard_of_links(tmp_path: Path) -> None:
    people = [lend(tmp_path / "lent/ann"), lend(tmp_path / "lent/bob", "Pas de bande !")]
    own.link_voices(people, PHRASE, tmp_path / "sounds")
    for number, person in enumerate(people):
        place = tmp_path / "sounds/train" / own.shard_of(number)
        assert len(list((place / own.KEYWORD).iterdir())) == 5 and len(list((place / OTHER).iterdir())) == 2
        link = place / OTHER / "00000.wav"
        assert link.is_symlink() and link.resolve() == (person.folder / "05.wav").resolve()
        assert source_of(link) == "voices"


def test_what_a_colleague_says_stays_easy_to_hear() -> None:
    random = default_rng(1)
    for line in [gentle_line(random) for _ in range(200)]:
        assert -34 <= line.level_dbfs <= -15 and line.reverberation_s == 0 and line.loss <= 0.03
        assert line.snr_db is None or line.snr_db >= 10


def test_a_voice_from_a_telephone_is_changed_as_others_are(tmp_path: Path) -> None:
    pytest.importorskip("pyworld", reason="the extra [train] is not installed")
    person = lend(tmp_path / "ann")
    sound = read(person.folder / "00.wav", changed_by=default_rng(1))
    assert 4000 < len(sound) < 16000 and np.isfinite(sound).all()


def called(label: str, source: str, number: int) -> SoundQuestions:
    """A call of 40 steps, all of which are the number, with two questions."""
    steps = np.full((40, 288), number, dtype=np.float32)
    return SoundQuestions(label, steps, [(0, 20), (10, 30)], f"sounds/train/{source}/{label}/{number}.wav")


def test_who_is_left_out_of_a_training_is_in_none_of_its_steps() -> None:
    fit = pytest.importorskip("media.training.fit", reason="the extra [train] is not installed")
    calls = [called(own.KEYWORD, f"voices-{number:03d}", number) for number in (0, 1, 2)]
    rows = fit.rows_of([packed([call]) for call in calls], [own.KEYWORD, OTHER])
    left = fit.without(rows, np.array(["voices-001" in sound for sound in rows.sounds]))
    assert len(left.labels) == 4 and "voices-001" not in "".join(left.sounds)
    assert set(left.steps[left.starts[0] : left.stops[1], 0]) == {0}
    assert set(left.steps[left.starts[2] : left.stops[3], 0]) == {2}
    asked = [left.steps[start:stop, 0] for start, stop in zip(left.starts, left.stops, strict=True)]
    assert [len(steps) for steps in asked] == [20, 20, 20, 20]
    assert np.count_nonzero(left.steps[:, 0] == 1) == 10  # which nobody asked about: the pause after it


def test_few_colleagues_count_beside_many_synthetic_voices() -> None:
    fit = pytest.importorskip("media.training.fit", reason="the extra [train] is not installed")
    calls = [called(label, f"espeak-{n % 5}", n) for n in range(500) for label in (own.KEYWORD, OTHER)]
    calls += [called(label, f"voices-{n:03d}", n) for n in range(3) for label in (own.KEYWORD, OTHER)]
    rows = fit.rows_of([packed(calls)], [own.KEYWORD, OTHER])
    batches = fit._Batches(rows, 2, default_rng(1))
    for label, share in ((0, fit.LENT_PHRASES), (1, fit.LENT_OTHERS)):
        picked = [str(rows.sounds[batches._pick(label)]) for _ in range(2000)]
        people = [number for number in range(3) for sound in picked if f"voices-{number:03d}" in sound]
        assert len(people) / len(picked) == pytest.approx(share, abs=0.04)
        assert min(people.count(number) for number in range(3)) > 0.25 * len(people)


# --- what those reach who are left out ---


def heard(said: str, refused: int, of: int, together: int | None = None) -> Iterator[CheckedUtterance]:
    for number in range(of):
        one, both = number < refused, together is not None and number < together
        yield CheckedUtterance(
            said,
            "espeak",
            "clean",
            Meaning.REFUSE if one else Meaning.OTHER,
            (Meaning.REFUSE if both else Meaning.OTHER) if together is not None else None,
        )


STRANGERS = Strangers((*heard(own.KEYWORD, 29, 30), *heard(OTHER, 0, 60)))


@pytest.mark.parametrize(
    ("rate", "interval"),
    [
        (Rate(29, 30), (0.833, 0.994)),
        (Rate(0, 60), (0.0, 0.060)),
        (Rate(60, 60), (0.940, 1.0)),
        (Rate(1, 2), (0.095, 0.905)),
    ],
)
def test_an_interval_is_wilsons(rate: Rate, interval: tuple[float, float]) -> None:
    assert rate.interval == pytest.approx(interval, abs=0.001)


def test_of_nothing_there_is_no_share() -> None:
    assert Rate(0, 0).share is None and Rate(0, 0).interval is None
    assert figures_of_strangers(None) is None


def test_what_strangers_reach_is_told_to_programs() -> None:
    told = figures_of_strangers(STRANGERS)
    assert told is not None
    assert (told["said"], told["others"], told["false_refusals"]) == (30, 60, 0.0)
    assert told["recall"] == pytest.approx(29 / 30)
    assert told["recall_interval"] == pytest.approx((0.833, 0.994), abs=0.001)


def test_with_the_shipped_head_beside_it_more_is_heard_and_more_is_wrong() -> None:
    found = Check((*heard(own.KEYWORD, 8, 10, 9), *heard(OTHER, 0, 100, 1)))
    together = found.together
    assert together is not None and (found.recall, together.recall) == (0.8, 0.9)
    assert (found.false_refusals, together.false_refusals) == (0.0, 0.01)
    assert figures(found)["with_shipped"]["false_refusals"] == 0.01
    assert check().together is None and figures(check())["with_shipped"] is None


# --- the command, of a training that comes out as it is told ---


def comes_out(
    monkeypatch: pytest.MonkeyPatch, strangers: Strangers | None = STRANGERS
) -> list[own.PhraseMaterial]:
    given: list[own.PhraseMaterial] = []

    def train(
        phrase: str, language: object, folder: object, material: own.PhraseMaterial, step: object
    ) -> Trained:
        given.append(material)
        labels = tuple(person.folder.name for person in material.voices)
        made: Head = replace(head(), phrases=(phrase,), voices=labels)
        return Trained(made, check(), ("espeak",), 7, 10, strangers)

    monkeypatch.setattr(cli_train, "train", train)
    return given


def test_the_card_says_what_colleagues_reach_and_names_none(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = office.folder / "lent"
    for name in ("ann", "bob", "zoe"):
        lend(lent / name)
    given = comes_out(monkeypatch)
    ran = office.run("train-keyword", PHRASE, "--lang", "fr", "--voices", lent)
    assert (ran.code, ran.err) == (0, "")
    assert [person.name for person in given[0].voices] == ["ann", "bob", "zoe"]
    assert "of 30 who say it 96.7% are heard (83% to 99%); 0.0% of 60 other sentences" in ran.out
    place = office.folder / "heads/fr.pas_de_bande.npz"
    card = place.with_suffix(".md").read_text(encoding="utf-8")
    assert f"| {SHOWN}, 30 times said | 96.7% (83% to 99%) | |" in card
    assert "| their other sentences taken for it, 60 | 0.0% (0% to 6%) | |" in card
    assert "3 colleagues, 15 times said; 7 recordings" in card and "These colleagues knew" in card
    assert not any(name in card for name in ("ann", "bob", "zoe"))
    assert load_head(place).voices == ("ann", "bob", "zoe")  # so that they can be forgotten


def test_who_is_left_out_is_said(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    lent = office.folder / "lent"
    lend(lent / "ann")
    past = lend(lent / "bob", days=-1)
    lend(lent / "joe", code="en")
    lend(lent / "zoe", "je refuse")
    comes_out(monkeypatch, None)
    ran = office.run("train-keyword", PHRASE, "--lang", "fr", "--voices", lent, "--json")
    why = f"bob (kept until {past.expires_at:%Y-%m-%d}), joe (speaks en), zoe (never says it)"
    assert (ran.code, ran.err) == (0, f"left out: {why}\n")
    assert json.loads(ran.out)["voices"] == {
        "persons": 1,
        "left_out": [
            {"person": "bob", "why": "expired"},
            {"person": "joe", "why": "language"},
            {"person": "zoe", "why": "phrase"},
        ],
        "strangers": None,
    }
    ran = office.run("train-keyword", PHRASE, "--lang", "fr", "--voices", lent)
    assert "Colleagues are too few to say what others would reach: at least 3." in ran.out
    card = (office.folder / "heads/fr.pas_de_bande.md").read_text(encoding="utf-8")
    assert SHOWN not in card and "1 colleague, 5 times said; " in card


def test_a_phrase_that_shipped_heads_know_may_be_taught_by_colleagues(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = office.folder / "lent"
    lend(lent / "ann", "Je refuse")
    lend(lent / "bob", "d'accord")
    comes_out(monkeypatch)
    assert office.run("train-keyword", "je refuse", "--lang", "fr", "--voices", lent).code == 0
    assert (office.folder / "heads/fr.je_refuse.npz").exists()
    told = office.fails(1, "train-keyword", "d'accord", "--lang", "fr", "--voices", lent)
    assert "is heard already" in told  # it accepts, and a second head would refuse


def test_a_mistake_in_the_folder_is_told_in_a_line(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    comes_out(monkeypatch)
    command = ("train-keyword", PHRASE, "--lang", "fr", "--voices")
    lent = office.folder / "lent"
    said = "lent: nobody to train on; accepted: who says 'pas de bande' in fr"
    assert said in office.fails(2, *command, lent)
    lent.mkdir()
    assert said in office.fails(2, *command, lent)
    lend(lent / "joe", code="en")
    said = "nobody to train on, left out: joe (speaks en); accepted: who says 'pas de bande' in fr"
    assert said in office.fails(2, *command, lent)
    lend(lent / "ann")
    (lent / "ann/06.wav").write_text("no sound")
    assert "ann/06.wav: no sound that can be read" in office.fails(2, *command, lent)
    (lent / "ann/06.wav").unlink()
    assert "ann: 06.wav is missing" in office.fails(2, *command, lent)


@pytest.mark.parametrize(("rounds", "fewer"), [(15, 15), (300, 200), (1500, 750)])
def test_trainings_without_somebody_are_shorter_but_not_too_short(rounds: int, fewer: int) -> None:
    assert own_keyword._fewer(rounds) == fewer
