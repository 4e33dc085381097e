"""The head for everyday words: what it learns from, its threshold, and that it is made the same twice."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from media.hearing.embedding import OTHER, load_head
from media.hearing.spotter import HEADS, known_heads, plain
from media.training.language import LANGUAGES, language
from media.training.speech import label

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_s_everyday_words_are_none_of_its_phrases(code: str) -> None:
    spoken = language(code)
    assert len(spoken.everyday) >= 10
    names = [label(phrase) for phrase in (*spoken.everyday, *spoken.phrases)]
    assert len(set(names)) == len(names) and OTHER not in names
    ways = {plain(way) for each in spoken.everyday.values() for way in each}
    promised = {plain(way) for each in (spoken.refusing | spoken.accepting).values() for way in each}
    assert not ways & promised


def test_what_begins_with_an_everyday_word_is_no_example_of_other_speech() -> None:
    everyday = pytest.importorskip("media.training.everyday", reason="the extra [train] is not installed")
    french = language("fr")
    for text in ("Non merci.", "Non merci, c'est tout.", "Non, pas toi, je parle à la dame.", "Je refuse !"):
        assert everyday.begins_with_one(text, french), text
    for text in ("Je ne veux pas attendre.", "Nonante.", "Oui, je suis d'accord.", "Pas de problème."):
        assert not everyday.begins_with_one(text, french), text


def test_the_plan_says_every_phrase_and_nothing_ambiguous() -> None:
    everyday = pytest.importorskip("media.training.everyday", reason="the extra [train] is not installed")
    french = language("fr")
    planned = everyday.plan(french, "espeak", "train", everyday.USUAL.share(0.05))
    said = {one.path.parent.name for one in planned}
    assert said == {*map(label, (*french.everyday, *french.refusing)), everyday.ACCEPTING, OTHER}
    others = [one.text for one in planned if one.path.parent.name == OTHER]
    assert not [text for text in others if everyday.begins_with_one(text, french)]
    assert planned == everyday.plan(french, "espeak", "train", everyday.USUAL.share(0.05))
    assert len({one.path for one in planned}) == len(planned)


def test_the_threshold_is_as_low_as_other_speech_allows() -> None:
    everyday = pytest.importorskip("media.training.everyday", reason="the extra [train] is not installed")
    scores = {f"tune/people/other/{n}.wav": n / 1000 for n in range(1000)}
    assert everyday._threshold(scores) == pytest.approx(1 - everyday.UNCLEAR_PEOPLE, abs=0.002)
    scores |= {f"tune/espeak/non/{n}.wav": 0.99 for n in range(1000)}  # says nothing of other speech
    assert everyday._threshold(scores) == pytest.approx(1 - everyday.UNCLEAR_PEOPLE, abs=0.002)
    quiet = {f"tune/people/other/{n}.wav": 0.01 for n in range(1000)}
    assert everyday._threshold(quiet) == everyday.LEAST
    loud = quiet | {f"tune/espeak/accepting/{n}.wav": 0.8 for n in range(100)}
    assert everyday._threshold(loud) == 0.8


@pytest.mark.parametrize("path", sorted(HEADS.glob("*.everyday.npz")), ids=lambda path: path.name)
def test_a_shipped_head_of_everyday_words_only_doubts_and_costs_no_deep_layers(path: Path) -> None:
    head = load_head(path)
    assert head.everyday
    spoken = language(head.language)
    assert head.phrases == (*spoken.everyday, *spoken.refusing)
    assert min(head.refuse_at, head.in_call_at, head.accept_at) > 1 > head.unclear_at
    (shipped,) = [each for each in known_heads() if each.language == head.language]
    assert head.deepens_like(shipped)


@pytest.mark.slow
def test_one_command_makes_the_same_bytes_twice(tmp_path: Path) -> None:
    """From nothing, with espeak-ng and a few of the usual sounds; the second goes on from some of them."""
    everyday = pytest.importorskip("media.training.everyday", reason="the extra [train] is not installed")
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    shipped, prompts = Path(__file__).parents[1] / "prompts", tmp_path / "prompts"
    (prompts / "fr").mkdir(parents=True)
    for name in ("hold.wav", "fr/notice.wav", "fr/notice_opt_in.wav"):
        shutil.copy(shipped / name, prompts / name)
    made = []
    for number in ("first", "second"):
        folder, out = tmp_path / number, tmp_path / f"{number} out"
        amounts = everyday.USUAL.share(0.005)
        material = everyday.Material(language("fr"), folder, ("espeak",), Path("none"), amounts)
        if number == "second":
            list(everyday.make_sounds(material, "tune"))  # what there is, is not made again
        assert list(everyday.make_everyday(material, prompts, out))[-1].startswith("unclear from")
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert sorted(made[0]) == ["fr.everyday.md", "fr.everyday.npz"]
    assert made[0] == made[1]
    assert np.array_equal(
        np.load(tmp_path / "first out" / "fr.everyday.npz")["deep0.w"], np.load(HEADS / "fr.npz")["deep0.w"]
    )


@pytest.mark.slow
def test_the_shipped_head_comes_from_nothing_and_is_the_same_bytes_twice(tmp_path: Path) -> None:
    """By the command; the second time some of the sounds are there already."""
    pytest.importorskip("jax", reason="the extra [train] is not installed")
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    made = []
    for number in ("first", "second"):
        folder, out = tmp_path / number, tmp_path / f"{number} out"
        if number == "second":
            shutil.copytree(tmp_path / "first" / "sounds" / "tune", folder / "sounds" / "tune")
        command = [sys.executable, "-m", "media.training", "--folder", folder, "--styles", "none"]
        command += ["--share", "0.004", "--out", out]
        subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert sorted(made[0]) == ["fr.everyday.md", "fr.everyday.npz", "fr.md", "fr.npz"]
    assert made[0] == made[1]
