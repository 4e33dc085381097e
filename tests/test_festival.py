"""Voices of other languages: phones for all that French says, a French melody, the same bytes twice."""

import pickle
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest

from media.training import own, voices
from media.training.language import language
from media.training.speech import FESTIVAL, Split, load_voice, plan
from media.training.voices import (
    RATE,
    VOWELS,
    Clause,
    Festival,
    FestivalError,
    Manner,
    Syllable,
    clauses,
    festival_kinds,
    french_sounds,
    lacking_packages,
    nearest_sounds,
    segments,
)

SPLITS: tuple[Split, ...] = ("train", "tune", "test")
FRENCH = language("fr")
CLAUSE = Clause(
    (Syllable(("ʒ", "ə"), False), Syllable(("ʁ", "ə"), False), Syllable(("f", "y", "z"), True)), "."
)
KAL = "kal_diphone"
speaks = pytest.mark.skipif(
    bool(lacking_packages([KAL])),
    reason=f"not installed: {' and '.join(lacking_packages([KAL]))} (make peers)",
)


def test_every_voice_has_phones_for_all_sounds() -> None:
    every = french_sounds()
    assert every > VOWELS and set(nearest_sounds().values()) <= every
    for name, kind in festival_kinds().items():
        assert set(kind.phones) == every, name
        assert all(1 <= len(phones) <= 2 for phones in kind.phones.values())
        assert kind.silence and kind.between and kind.package.startswith("festvox-")


def test_each_voice_is_in_one_split() -> None:
    of = [name for split in SPLITS for name in FESTIVAL[split]]
    assert sorted(of) == sorted(festival_kinds()) and len(of) == len(set(of))
    for split in SPLITS:
        said = plan(FRENCH, "festival", split, list("abcdef"), 0.2)
        assert {utterance.manner.voice for utterance in said} == set(FESTIVAL[split])


def test_all_that_is_said_in_french_has_phones() -> None:
    """In as few questions to espeak-ng as can be."""
    ways = sum((FRENCH.refusing | FRENCH.accepting | FRENCH.everyday | FRENCH.fillings).values(), ())
    foreign = ("Le week-end au camping, du smoking, une interview, un meeting.",)
    for texts in (ways, FRENCH.near, FRENCH.talk, FRENCH.turns, foreign):
        text = " ".join(text.translate(str.maketrans(",.!?{}", " " * 6)) for text in texts)
        (clause,) = clauses(text, "fr")
        assert len(clause.syllables) > len(text) / 8
        assert all(sum(sound in VOWELS for sound in each.sounds) <= 1 for each in clause.syllables)


def test_words_are_cut_into_clauses_and_syllables() -> None:
    assert clauses("Je refuse.", "fr") == [CLAUSE]
    refused, rest = clauses("Non, pas d'enregistrement !", "fr")
    assert (refused.mark, rest.mark) == (",", "!")
    assert refused.syllables == (Syllable(("n", "ɔ\u0303"), True),)
    assert [each.sounds[0] for each in rest.syllables] == ["p", "d", "ʒ", "t", "m"]
    assert clauses("… !", "fr") == []


def test_a_sound_without_phones_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.training.voices._ipa", lambda text, accent: "ʘa")
    with pytest.raises(FestivalError, match="'ʘa': no phone for ʘ; accepted: "):
        clauses("…a", "fr")


def test_a_sentence_ends_low_and_long_and_a_question_high() -> None:
    kind = festival_kinds()[KAL]

    def said(mark: str, speed: float = 1.0) -> list[tuple[str, float, float]]:
        found = segments(replace(CLAUSE, mark=mark), kind, speed, Random(1))
        return [(each.phone, each.seconds, each.hertz) for each in found]

    phones = [phone for phone, _, _ in said(".")]
    assert phones == ["pau", "zh", "ax", "r", "ax", "f", "uw", "z", "pau"]
    statement, question = ([each for each in said(mark) if each[2]] for mark in ".?")
    assert statement[-1][2] < min(each[2] for each in statement[:-1])
    assert question[-1][2] > max(each[2] for each in question[:-1])
    assert statement[-1][1] > 1.5 * statement[0][1]
    assert said(".") == said(".")
    for (_, usual, _), (_, faster, _) in zip(said(".")[1:-1], said(".", 2.0)[1:-1], strict=True):
        assert faster == pytest.approx(usual / 2)


def test_a_voice_without_what_its_package_only_recommends_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With apt's --no-install-recommends it would say nothing of its phones."""
    monkeypatch.setattr(voices, "INSTALLED", tmp_path)
    (tmp_path / "voices" / "hindi" / "hindi_NSK_diphone").mkdir(parents=True)
    assert "festival-hi" in lacking_packages(["hindi_NSK_diphone"])
    (tmp_path / "hindi_scm").mkdir()
    assert not {"festival-hi", "festvox-hi-nsk"} & set(lacking_packages(["hindi_NSK_diphone"]))


def test_a_missing_voice_is_told_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "INSTALLED", tmp_path)
    assert "festvox-kallpc16k" in lacking_packages([KAL])
    with pytest.raises(FestivalError, match=r"kal_diphone needs .*festvox-kallpc16k; apt install"):
        Festival("fr").say("Oui.", Manner(KAL, 1.0, 1.0))
    with pytest.raises(FestivalError, match="German: festival's voices have no phones for it"):
        load_voice(language("de"), "festival", tmp_path, tmp_path)
    if "festival" in own.synthesizers(FRENCH, tmp_path):
        pytest.fail("used without its voices")


@speaks
def test_a_real_voice_says_the_same_twice_as_fast_and_as_high_as_asked() -> None:
    with closing(Festival("fr")) as festival:
        first, second = (festival.say("Je refuse.", Manner(KAL, 1.0, 1.0)) for _ in range(2))
        fast = festival.say("Je refuse.", Manner(KAL, 1.3, 1.0))
        with pytest.raises(FestivalError, match="nothing in it is said aloud"):
            festival.say("…", Manner(KAL, 1.0, 1.0))
    with closing(Festival("fr")) as festival:
        asked = ("Oui, d'accord.", "Je refuse.")
        third = [festival.say(text, Manner(KAL, 1.0, 1.0)) for text in asked][-1]
    assert np.array_equal(first, second) and np.array_equal(first, third)
    assert 0.6 < len(first) / RATE < 1.2 and first.dtype == np.int16 and np.abs(first).max() > 10_000
    assert len(fast) < 0.9 * len(first)


@speaks
def test_what_ends_festival_is_said_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """And two phones that cannot follow each other are joined, as learnt from what it answers."""
    asked: list[str] = []

    def ask(self: object, wanted: str) -> str:
        asked.append(wanted)
        if "0.110" not in wanted:
            ended = voices._Ended("the voice ended")
            ended.answer = "using default diphone pau-pau for f-uw" if len(asked) < 2 else ""
            raise pickle.loads(pickle.dumps(ended))  # as from another process
        return ""

    spoken = voices._Voice(KAL)
    monkeypatch.setattr(voices._Voice, "_ask", ask)
    monkeypatch.setattr(voices._Voice, "_start", lambda self: None)
    found = list(segments(CLAUSE, festival_kinds()[KAL], 1.0, Random(1)))
    spoken._say_segments(found, Path("said.wav"))
    spoken.close()
    assert len(asked) == 3
    assert "(f" in asked[1] and ") (ax 0.035) (uw" in asked[1] and "0.110" in asked[2]
    assert [a.phone for a, _ in pairwise(found)][-3:] == ["f", "uw", "z"]
