"""Voices of other languages: phones for all that French says, a French melody, the same bytes twice."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from media.training import own, voices
from media.training.language import language
from media.training.speech import FESTIVAL, Split, load_voice
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


def test_every_voice_has_phones_for_all_sounds_and_is_in_one_split() -> None:
    every = french_sounds()
    assert every > VOWELS and set(nearest_sounds().values()) <= every
    for name, kind in festival_kinds().items():
        assert set(kind.phones) == every, name
        assert all(1 <= len(phones) <= 2 for phones in kind.phones.values())
        assert kind.silence and kind.between and kind.package.startswith("festvox-")
    of = [name for split in SPLITS for name in FESTIVAL[split]]
    assert sorted(of) == sorted(festival_kinds()) and len(of) == len(set(of))


def test_all_that_is_said_in_french_is_cut_into_clauses_and_syllables_that_have_phones() -> None:
    ways = sum((FRENCH.refusing | FRENCH.accepting | FRENCH.everyday | FRENCH.fillings).values(), ())
    foreign = ("Le week-end au camping, du smoking, une interview, un meeting.",)
    for texts in (ways, FRENCH.near, FRENCH.talk, FRENCH.turns, foreign):
        text = " ".join(text.translate(str.maketrans(",.!?{}", " " * 6)) for text in texts)
        (clause,) = clauses(text, "fr")
        assert len(clause.syllables) > len(text) / 8
        assert all(sum(sound in VOWELS for sound in each.sounds) <= 1 for each in clause.syllables)
    assert clauses("Je refuse.", "fr") == [CLAUSE] and clauses("… !", "fr") == []
    refused, rest = clauses("Non, pas d'enregistrement !", "fr")
    assert (refused.mark, rest.mark) == (",", "!")
    assert refused.syllables == (Syllable(("n", "ɔ\u0303"), True),)
    assert [each.sounds[0] for each in rest.syllables] == ["p", "d", "ʒ", "t", "m"]


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
