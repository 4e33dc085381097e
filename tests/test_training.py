"""What heads are trained on; how a head learns, and that it is the same bytes twice."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from media.frame import SAMPLE_RATE
from media.hearing.embedding import (
    HOP,
    OTHER,
    REACH,
    SPAN,
    STRIDE,
    WARPS,
    WIDTH,
    WINDOW,
    Floats,
    google_layers,
    load_head,
    save_head,
)
from media.hearing.spotter import HEADS, known_heads, plain
from media.hearing.vad import UNHEARD
from media.training import own
from media.training.features import LONGEST, LineStage, SoundQuestions, packed, questions, read, write
from media.training.language import LANGUAGES, language
from media.training.lines import PhoneLine
from media.training.speech import ESPEAK, KOKORO, Split, label, own_prompts, plan
from sipagent.agent.admission import SHIPPED

ROOT = Path(__file__).parents[1]
SPLITS: tuple[Split, ...] = ("train", "tune", "test")
WORDS = ["gare", "maison", "soleil", "dossier", "courrier", "fenêtre"]
VOICE = SHIPPED / "fr/refused.wav"
EXTRA = "the extra [train] is not installed"
jax = pytest.mark.skipif(not all(map(importlib.util.find_spec, own.NEEDED)), reason=EXTRA)
everywhere = pytest.mark.parametrize("code", LANGUAGES)


# --- who says what ---


@pytest.mark.parametrize("voices", [KOKORO, ESPEAK, *(language(code).mbrola for code in LANGUAGES)])
def test_a_voice_belongs_to_one_split(voices: Mapping[str, tuple[str, ...]]) -> None:
    every = [voice for names in voices.values() for voice in names]
    assert len(every) == len(set(every)) and all(voices[split] for split in SPLITS)


@everywhere
def test_a_plan_is_the_same_each_time_and_keeps_speakers_and_sentences_apart(code: str) -> None:
    spoken = language(code)
    for synthesizer in ("kokoro", "espeak", "mbrola"):
        plans = {split: plan(spoken, synthesizer, split, WORDS) for split in SPLITS}
        assert plans["test"] == plan(spoken, synthesizer, "test", WORDS)
        paths = [utterance.path for said in plans.values() for utterance in said]
        assert len(paths) == len(set(paths))
        for split in ("train", "tune"):
            texts = {utterance.text for utterance in plans[split]} & {*spoken.near, *spoken.talk}
            assert texts and not texts & {utterance.text for utterance in plans["test"]}
    phrases = spoken.refusing | spoken.accepting
    elsewhere = {plain(text) for text in (*spoken.near, *spoken.talk, *sum(phrases.values(), ()))}
    elsewhere |= {plain(way.format(phrase)) for way in spoken.ways for phrase in phrases}
    own = {*spoken.release["near"], *spoken.release["talk"]}  # what is said once a version
    ways = {way.format(phrase) for way in spoken.release["ways"] for phrase in phrases}
    assert not elsewhere & {plain(text) for text in own | ways}
    said = {utterance.text for utterance in plan(spoken, "espeak", "release", WORDS)}
    assert said >= own and not said & {*spoken.near, *spoken.talk}


@everywhere
def test_phrases_are_told_apart_and_nothing_that_refuses_stands_among_what_does_not(code: str) -> None:
    spoken = language(code)
    said = {utterance.path.parent.name for utterance in plan(spoken, "espeak", "test", WORDS)}
    assert said == {label(phrase) for phrase in spoken.phrases} | {OTHER}
    assert len(said) == len(spoken.phrases) + 1  # no two of them are the same folder
    assert spoken.in_call and set(spoken.in_call) <= set(spoken.refusing)
    promised = {plain(way) for ways in (spoken.refusing | spoken.accepting).values() for way in ways}
    assert not promised & {plain(text) for text in (*spoken.near, *spoken.talk)}
    everyday = [label(phrase) for phrase in spoken.everyday]
    assert len(everyday) >= 10 and len({*everyday, *said}) == len(everyday) + len(said)
    assert not promised & {plain(way) for each in spoken.everyday.values() for way in each}


@pytest.mark.parametrize(
    ("code", "stem"), [("fr", "enregistr"), ("en", "record"), ("de", "aufzeichn"), ("es", "graba")]
)
def test_no_way_of_accepting_names_the_recording(code: str, stem: str) -> None:
    no, yes = (
        " ".join(plain(way) for ways in phrases.values() for way in ways)
        for phrases in (language(code).refusing, language(code).accepting)
    )
    assert stem in no and stem not in yes


@pytest.mark.parametrize("code", ["fr", "en"])
def test_no_head_learns_that_our_own_notice_refuses_nothing(code: str) -> None:
    texts = {path: path.with_suffix(".txt") for path in own_prompts(SHIPPED, code)}
    words = {path: plain(text.read_text(encoding="utf-8")) for path, text in texts.items() if text.exists()}
    assert SHIPPED / code / "confirm.wav" in words
    refusing = [plain(phrase) for phrase in language(code).refusing]
    assert not [path for path, said in words.items() if any(phrase in said for phrase in refusing)]


# --- what is asked about it ---


def test_a_question_is_the_speech_so_far_each_100_ms() -> None:
    sound = np.concatenate([np.zeros(4000), read(VOICE), np.zeros(8000)])
    asked = list(questions(np.asarray(sound * 32767, dtype=np.int16)))
    assert len(asked) > 10 and np.diff([at for at, *_ in asked])[:-1] == pytest.approx(0.1)
    for at, start, stop in asked:
        assert REACH < stop - start <= LONGEST
        last_ends = ((stop - 1) * STRIDE + SPAN - 1) * HOP + WINDOW
        assert 0 <= round(at * SAMPLE_RATE) + UNHEARD - last_ends < STRIDE * HOP


def test_of_a_phrase_only_what_is_asked_once_it_was_said_counts() -> None:
    stage = LineStage([VOICE], [VOICE], SHIPPED, np.random.default_rng(1))
    said = stage.asked("je_refuse", VOICE, PhoneLine(), changed=False)
    other = stage.asked("other", VOICE, PhoneLine(), changed=False)
    assert 0 < len(said.questions) <= 9 < len(other.questions)
    assert max(stop for _, stop in said.questions) <= len(said.steps)
    assert said.warped is not None and said.warped.shape == (len(WARPS), *said.steps.shape)
    assert stage.asked("je_refuse", VOICE).warped is None  # it is trained on, by a random tract


# --- how a head learns ---


def steps(count: int, seed: int = 2) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


@jax
def test_the_trainer_computes_the_same_as_a_head() -> None:
    from media.training.fit import forward

    head = load_head(HEADS / "fr.npz")
    batch, lengths = np.ones((3, 60, WIDTH), dtype=np.float32), (REACH + 1, 30, 59)
    for row, length in enumerate(lengths):
        batch[row, :length] = steps(length)  # behind it, what the next sound begins with
    logits = np.asarray(forward(head.weights, batch, np.array(lengths, dtype=np.float32)))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    for row, length in enumerate(lengths):
        assert odds[row] / odds[row].sum() == pytest.approx(head.probabilities(steps(length)), abs=1e-4)


@jax
@pytest.mark.parametrize(("tune_deep", "rounds"), [(True, 20), (False, 80)])
def test_a_head_learns_to_tell_sounds_apart(tune_deep: bool, rounds: int) -> None:
    from media.training.fit import Questions, choose, fit, probabilities

    random = np.random.default_rng(4)
    labels = np.arange(240) % 3  # refuses, accepts, anything else
    sounds = np.array([f"sounds/train/espeak/{label}/{n}.wav" for n, label in enumerate(labels)])
    loud = random.normal(size=(240, 30, WIDTH)) + 3 * labels[:, None, None]
    starts = np.arange(240, dtype=np.int64) * 30
    rows = Questions(loud.reshape(-1, WIDTH).astype(np.float16), starts, starts + 28, labels, sounds)
    *_, (count, _, weights) = fit(rows, ["refuse", "accept", "other"], rounds, 1, tune_deep=tune_deep)
    assert count == rounds
    assert np.array_equal(weights["deep0.w"], google_layers()["deep0.w"]) is not tune_deep
    assert (probabilities(weights, rows).argmax(axis=1) == labels).mean() > 0.95
    found = choose(weights, rows, 1, 3, [0])
    assert found.unclear_at <= found.refuse_at <= found.in_call_at and found.recall >= 0.9


@jax
@pytest.mark.parametrize(
    ("said", "wrong", "share"), [(0.99, 0.9, 0.0025), (0.89, 0.9, 0.01), (0.5, 0.9, 0.04)]
)
def test_a_keywords_threshold_is_as_strict_as_its_recall_allows(
    monkeypatch: pytest.MonkeyPatch, said: float, wrong: float, share: float
) -> None:
    from media.training import fit

    others = np.linspace(0.0, 0.6, 2000)
    others[:16] = wrong + np.linspace(0.0, 0.01, 16)
    scores = np.concatenate([np.full(100, said), others])
    monkeypatch.setattr(fit, "probabilities_on_calls", lambda *_: np.stack([scores, 1 - scores], axis=1))
    places, labels = np.arange(len(scores)), np.array([0] * 100 + [1] * 2000)
    sounds = np.array([f"tune/espeak-0/x/{n}.wav" for n in places])
    rows = fit.Questions(np.zeros((0, 288), dtype=np.float16), places, places, labels, sounds)
    found = fit.strictest({}, rows)
    assert found.false_refusals == pytest.approx(share, abs=0.001)
    assert found == fit.choose({}, rows, 1, 2, [0], near=share)


def called(label: str, source: str, number: int) -> SoundQuestions:
    whole = np.full((40, 288), number, dtype=np.float32)
    return SoundQuestions(label, whole, [(0, 20), (10, 30)], f"sounds/train/{source}/{label}/{number}.wav")


@jax
def test_who_is_left_out_of_a_training_is_in_none_of_its_steps() -> None:
    from media.training import fit

    calls = [called(own.KEYWORD, f"voices-{number:03d}", number) for number in (0, 1, 2)]
    rows = fit.rows_of([packed([call]) for call in calls], [own.KEYWORD, OTHER])
    left = fit.without(rows, np.array(["voices-001" in sound for sound in rows.sounds]))
    assert len(left.labels) == 4 and "voices-001" not in "".join(left.sounds)
    asked = [left.steps[start:stop, 0] for start, stop in zip(left.starts, left.stops, strict=True)]
    assert [(len(one), {*one.tolist()}) for one in asked] == [(20, {0})] * 2 + [(20, {2})] * 2
    assert np.count_nonzero(left.steps[:, 0] == 1) == 10  # which nobody asked about: the pause after it


@jax
def test_a_language_takes_over_the_deep_layers_of_another(tmp_path: Path) -> None:
    from media.training.shipped import choose_anew, fit_shipped

    german, random = language("de"), np.random.default_rng(4)
    names = [*map(label, german.phrases), OTHER]
    for split in ("train", "tune"):
        calls = [
            SoundQuestions(
                name, steps(30) + 3 * names.index(name), [(0, 28)], f"s/{split}/espeak/{name}/{number}.wav"
            )
            for name in names
            for number in range(random.integers(3, 6))
        ]
        write(tmp_path / "features" / f"{split}.espeak.npz", calls)
    progress = list(fit_shipped(german, tmp_path / "features", tmp_path, 5, like="fr"))
    assert progress[0].endswith("to choose thresholds on")
    made, french = load_head(tmp_path / "de.npz"), load_head(HEADS / "fr.npz")
    assert (made.language, made.phrases) == ("de", german.phrases) and made.deepens_like(french)
    card = (tmp_path / "de.md").read_text(encoding="utf-8")
    assert "- ich lehne ab" in card and "| train/espeak |" in card and "with what the fr head heard" in card
    list(choose_anew(german, tmp_path / "features", tmp_path, like="fr"))
    once = [(tmp_path / f"de.{ending}").read_bytes() for ending in ("npz", "md")]
    anew = load_head(tmp_path / "de.npz")
    assert f"| a refusal from | {anew.refuse_at} |".encode() in once[1]
    assert anew.refuse_at == pytest.approx(made.refuse_at, abs=0.01)
    save_head(tmp_path / "de.npz", replace(anew, refuse_at=0.123))
    list(choose_anew(german, tmp_path / "features", tmp_path, like="fr"))
    assert [(tmp_path / f"de.{ending}").read_bytes() for ending in ("npz", "md")] == once


# --- everyday words ---


@jax
def test_what_begins_with_an_everyday_word_is_no_example_of_other_speech() -> None:
    from media.training import shipped

    french = language("fr")
    for text in ("Non merci.", "Non merci, c'est tout.", "Non, pas toi, je parle à la dame.", "Je refuse !"):
        assert shipped.begins_with_one(text, french), text
    for text in ("Je ne veux pas attendre.", "Nonante.", "Oui, je suis d'accord.", "Pas de problème."):
        assert not shipped.begins_with_one(text, french), text
    planned = shipped.plan_everyday(french, "espeak", "train", shipped.EVERYDAY.share(0.05))
    assert planned == shipped.plan_everyday(french, "espeak", "train", shipped.EVERYDAY.share(0.05))
    said = {one.path.parent.name for one in planned}
    assert said == {*map(label, (*french.everyday, *french.refusing)), shipped.ACCEPTING, OTHER}
    others = [one.text for one in planned if one.path.parent.name == OTHER]
    assert not [text for text in others if shipped.begins_with_one(text, french)]
    assert len({one.path for one in planned}) == len(planned)


@jax
def test_its_threshold_is_as_low_as_other_speech_allows() -> None:
    from media.training import shipped

    scores = {f"tune/people/other/{n}.wav": n / 1000 for n in range(1000)}
    for more in ({}, {f"tune/espeak/non/{n}.wav": 0.99 for n in range(1000)}):  # says nothing of other speech
        least = 1 - shipped.UNCLEAR_PEOPLE
        assert shipped._threshold(scores | more) == pytest.approx(least, abs=0.002)
    quiet = {f"tune/people/other/{n}.wav": 0.01 for n in range(1000)}
    assert shipped._threshold(quiet) == shipped.LEAST
    assert shipped._threshold(quiet | {f"tune/espeak/accepting/{n}.wav": 0.8 for n in range(100)}) == 0.8


@pytest.mark.parametrize("path", sorted(HEADS.glob("*.everyday.npz")), ids=lambda path: path.name)
def test_a_shipped_head_of_everyday_words_only_doubts_and_costs_no_deep_layers(path: Path) -> None:
    head = load_head(path)
    spoken = language(head.language)
    assert head.everyday and head.phrases == (*spoken.everyday, *spoken.refusing)
    assert min(head.refuse_at, head.in_call_at, head.accept_at) > 1 > head.unclear_at
    (shipped,) = [each for each in known_heads() if each.language == head.language]
    assert head.deepens_like(shipped)


@jax
@pytest.mark.slow
def test_shipped_heads_come_from_nothing_and_are_the_same_bytes_twice(tmp_path: Path) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    made = []
    for number in ("first", "second"):
        folder, out = tmp_path / number, tmp_path / f"{number} out"
        if number == "second":
            for sounds in ("sounds/tune", "everyday/sounds/tune"):
                shutil.copytree(tmp_path / "first" / sounds, folder / sounds)
        command = [sys.executable, "-m", "media.training", "--folder", folder, "--styles", "none"]
        command += ["--share", "0.004", "--out", out]
        subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert sorted(made[0]) == ["fr.everyday.md", "fr.everyday.npz", "fr.md", "fr.npz"]
    assert made[0] == made[1]
    heads = [load_head(tmp_path / f"first out/{name}.npz") for name in ("fr.everyday", "fr")]
    assert heads[0].deepens_like(heads[1])
