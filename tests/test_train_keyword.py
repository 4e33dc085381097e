"""`train-keyword`: a head that passes its check is installed whole, one that doesn't is not."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile

from media.hearing.embedding import DILATIONS, KERNEL, OTHER, Head, google_layers, load_head
from media.hearing.keyword import DetectorUnavailable, Meaning
from media.hearing.spotter import Spotter, known_heads
from media.training import own
from media.training.enrolled import LEAST_PEOPLE, EnrolledPerson, Saying, write_person
from media.training.language import language
from media.training.own import alike, pieces
from media.training.speech import ESPEAK
from media.training.voices import Espeak, Manner
from prompts.speak import VoiceError
from sipagent.cli import keyword as cli_train
from sipagent.voice import own_keyword
from sipagent.voice.own_keyword import (
    Bounds,
    Check,
    CheckedUtterance,
    Trained,
    TrainingFailed,
    install,
    why_not,
)
from tests.configured import with_keys
from tests.office import Office
from tests.room import Room

PHRASE = "pas de bande"
FRENCH = language("fr")
speaks = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(Room(tmp_path / "agent").folder, capsys)


def head() -> Head:
    """One that hears the phrase in everything."""
    weights = {
        **google_layers(),
        **{"mean": np.zeros(96), "scale": np.ones(96), "in.w": np.zeros((192, 2)), "in.b": np.zeros(2)},
        **{f"conv{number}.w": np.zeros((KERNEL, 2, 2)) for number in range(len(DILATIONS))},
        **{f"conv{number}.b": np.zeros(2) for number in range(len(DILATIONS))},
        **{"mid.w": np.zeros((4, 2)), "mid.b": np.zeros(2), "out.w": np.zeros((2, 2))},
        "out.b": np.array([5.0, 0.0]),
    }
    held = {name: np.asarray(weight, dtype=np.float32) for name, weight in weights.items()}
    return Head("fr", (PHRASE,), 0.9, 0.5, 0.95, own.NEVER, held)


def heard(
    said: str, refused: int, of: int, source: str = "espeak", line: str = "clean"
) -> Iterator[CheckedUtterance]:
    for number in range(of):
        yield CheckedUtterance(said, source, line, Meaning.REFUSE if number < refused else Meaning.UNCLEAR)


def check(refused: int = 19, falsely: int = 0) -> Check:
    return Check(
        (
            *heard(own.KEYWORD, refused, 20),
            *heard(own.KEYWORD, 1, 4, "pico", "20 dB"),
            *heard(own.NEAR, 3, 10),
            *heard(OTHER, falsely, 200, "people"),
        )
    )


# --- what is said ---


def test_pieces_of_a_phrase_are_not_the_phrase() -> None:
    assert pieces(PHRASE) == ["bande", "de", "de bande", "pas", "pas bande", "pas de"]
    assert pieces("refuser") == ["re", "ref", "refu"]


@speaks
def test_words_that_sound_like_one_of_the_phrase_stand_in_its_place() -> None:
    words = ["bandes", "viande", "bandage", "chateau", "pigeon", "demande"]
    found = alike(PHRASE, words, "fr", Random(1))
    assert "pas de viande" in found or "pas de demande" in found
    assert "pas de bandes" not in found  # that sounds the same
    assert "pas de pigeon" not in found


@speaks
def test_what_is_held_back_is_said_by_other_voices_and_not_in_the_same_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own, "LOOKED_AT", 500)
    every = [
        utterance
        for _, shard in own.shards(PHRASE, FRENCH, ["espeak"], own.USUAL.share(0.1))
        for utterance in shard
    ]
    said = {
        split: [utterance for utterance in every if utterance.path.parts[0] == split] for split in own.SPLITS
    }
    for split, utterances in said.items():
        voices = {utterance.manner.voice.partition("+")[2] for utterance in utterances}
        assert voices <= set(ESPEAK[split])
        assert {own.KEYWORD, OTHER} <= {utterance.path.parent.name for utterance in utterances}
    similar = {utterance.text for utterance in said["test"] if utterance.path.parent.name == own.NEAR}
    assert similar and not similar & {utterance.text for utterance in said["train"]}
    paths = [utterance.path for utterances in said.values() for utterance in utterances]
    assert len(paths) == len(set(paths))


def test_a_tenth_of_the_work_is_a_tenth_of_everything() -> None:
    tenth = own.USUAL.share(0.1)
    assert tenth.said["espeak"]["train"] == own.USUAL.said["espeak"]["train"] // 10
    assert (tenth.people["test"], tenth.rounds) == (own.USUAL.people["test"] // 10, own.USUAL.rounds // 10)


def test_a_head_has_a_file_name_whatever_its_phrase() -> None:
    assert own.file_name("l'été / non !", "fr") == "fr.l_ete_non"
    assert own.file_name("нет", "fr") == "fr.35ffe219"


# --- the check ---


def test_recall_is_that_of_synthesizers_that_were_trained_on() -> None:
    found = check()
    assert found.recall == pytest.approx(0.95)
    assert found.recalls == {"espeak": 0.95, "pico": 0.25, "clean": 0.95, "20 dB": 0.25}
    assert (found.false_refusals, found.near_misses) == (0.0, 0.3)
    assert found.count(OTHER) == 200


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (check(), None),
        (check(refused=16), "it hears 80.0% of those who say it, and 85.0% is the least"),
        (check(falsely=2), "it takes 1.00% of other speech for it, and 0.50% is the most"),
        (Check(tuple(heard(own.KEYWORD, 5, 5))), "nothing else was said, and 0.50% is the most"),
        (Check(()), "it hears 0.0% of those who say it, and 85.0% is the least"),
    ],
)
def test_why_a_head_must_not_be_used(found: Check, why: str | None) -> None:
    assert why_not(found, Bounds()) == why


# --- installing ---


def test_a_head_is_installed_with_its_card_and_heard_by_the_detector(tmp_path: Path) -> None:
    place = install(head(), "# the card", tmp_path / "heads", "fr.pas_de_bande")
    assert {path.name for path in place.parent.iterdir()} == {"fr.pas_de_bande.npz", "fr.pas_de_bande.md"}
    sound = np.asarray(np.random.default_rng(1).normal(size=16_000) * 1000, dtype=np.int16)
    verdict = Spotter([PHRASE, "je refuse"], [], own=tmp_path / "heads").judge(sound)
    assert (verdict.meaning, verdict.keyword) == (Meaning.REFUSE, PHRASE)


def test_what_fails_while_it_is_installed_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "heads"
    place = install(head(), "# the card", folder, "fr.own")
    before = place.read_bytes()

    def full(path: Path, head: Head) -> None:
        path.write_bytes(b"half")
        assert len(known_heads(folder)) == 1  # as one sees it who comes in between
        raise OSError("no space left")

    monkeypatch.setattr(own_keyword, "save_head", full)
    with pytest.raises(OSError, match="no space left"):
        install(head(), "# another card", folder, "fr.own")
    assert place.read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {"fr.own.npz", "fr.own.md"}
    assert place.with_suffix(".md").read_text() == "# the card"


def test_a_head_of_ones_own_only_refuses(tmp_path: Path) -> None:
    install(head(), "", tmp_path / "heads", "fr.own")
    with pytest.raises(DetectorUnavailable, match="no head for 'pas de bande'"):
        Spotter(["je refuse"], [PHRASE], own=tmp_path / "heads")


# --- the command, of a training that comes out as it is told ---


def comes_out(monkeypatch: pytest.MonkeyPatch, found: Check) -> None:
    def train(phrase: str, *_: object) -> Trained:
        return Trained(head(), found, ("espeak",), 7, 10)

    monkeypatch.setattr(cli_train, "train", train)


def test_what_passes_is_installed_and_can_be_configured(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    comes_out(monkeypatch, check())
    ran = office.run("train-keyword", "Pas de bande !", "--lang", "fr")
    place = office.folder / "heads/fr.pas_de_bande.npz"
    assert ran.code == 0 and load_head(place).phrases == (PHRASE,)
    assert "95.0% are heard" in ran.out and str(place) in ran.out
    told = place.with_suffix(".md").read_text()
    assert "| recall, 20 times said | 95.0% | 85.0% |" in told and "| recall, pico | 25.0% | |" in told
    config = office.folder / "config.toml"
    keys = 'engine = "embedding"\nkeywords = ["pas de bande"]'
    config.write_text(with_keys("refusal", keys, config.read_text(encoding="utf-8")))
    told = json.loads(office.run("check", "--json").out)
    (line,) = [finding for finding in told if finding["what"] == "refusal.engine"]
    assert (line["level"], line["detail"]) == ("ok", "embedding hears 'pas de bande'")


def test_what_fails_its_check_is_not_installed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    comes_out(monkeypatch, check(refused=10))
    ran = office.run("train-keyword", PHRASE, "--lang", "fr", "--json")
    assert ran.code == 1
    told = json.loads(ran.out)
    assert (told["head"], told["recall"], told["false_refusals"]) == (None, 0.5, 0.0)
    assert told["why_not"] == "it hears 50.0% of those who say it, and 85.0% is the least"
    assert ran.err == f"sipagent: 'pas de bande' is not installed: {told['why_not']}\n"
    assert not (office.folder / "heads").exists()
    assert office.run("train-keyword", PHRASE, "--lang", "fr", "--recall", "40").code == 0
    assert (office.folder / "heads/fr.pas_de_bande.npz").exists()


def test_a_phrase_that_a_shipped_head_hears_needs_no_other(office: Office) -> None:
    told = office.fails(1, "train-keyword", "Je refuse", "--lang", "fr")
    assert "'je refuse' is heard already, by the head for fr: name it in refusal.keywords" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["  !?"], "accepted: words of 60 letters, 8 of them at most"),
        (["a b c d e f g h i"], "accepted: words of 60 letters, 8 of them at most"),
        ([PHRASE, "--lang", "nl"], "'nl' is not one of"),
        ([PHRASE, "--recall", "101"], "101.0 is not in the range"),
    ],
)
def test_what_is_no_phrase_or_language(office: Office, words: list[str], told: str) -> None:
    assert told in office.fails(2, "train-keyword", *words)


def test_what_is_missing_is_told_in_a_line(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("jax", "optax") else known(name)
    )
    told = office.fails(1, "train-keyword", PHRASE, "--lang", "fr")
    assert "espeak-ng (apt install espeak-ng)" in told
    assert "jax, optax (pip install 'sipagent[train]')" in told


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    (office.folder / "heads").write_text("no folder")
    told = office.fails(1, "train-keyword", PHRASE, "--lang", "fr")
    assert "heads: cannot be written to; accepted: such a folder in refusal.heads" in told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (VoiceError("no such speaker"), "speak: no such speaker"),
        (BrokenProcessPool(), "speak: a process was ended; is there enough memory?"),
    ],
)
def test_a_process_that_fails_is_told_in_a_line(wrong: Exception, told: str) -> None:
    failed: Future[None] = Future()
    failed.set_exception(wrong)
    with pytest.raises(TrainingFailed, match=re.escape(told)):
        own_keyword._all([failed], "speak", lambda what, done, total: None)


# --- and in earnest, with a hundredth of the work ---


def lends(folder: Path, voice: str) -> None:
    """Somebody who says the phrase once, and another sentence."""
    folder.mkdir(parents=True)
    sayings = (Saying("01.wav", PHRASE, PHRASE), Saying("02.wav", "Bonjour madame.", None))
    for each in sayings:
        sound = Espeak().say(each.text, Manner(voice, 1.0, 1.0))[::2]
        soundfile.write(folder / each.file, np.pad(sound, 4000), 8000)
    until = datetime.now(UTC) + timedelta(days=1)
    write_person(folder, EnrolledPerson(folder, folder.name, "fr", "201", until, until, sayings))


@speaks
def test_a_head_is_made_from_nothing_but_voices(office: Office) -> None:
    pytest.importorskip("jax", reason="the extra [train] is not installed")
    for number in range(LEAST_PEOPLE):
        lends(office.folder / f"lent/person_{number}", f"fr+{ESPEAK['tune'][number]}")
    lenient = ("--recall", 0, "--false-refusals", 100, "--voices", office.folder / "lent")
    ran = office.run("train-keyword", PHRASE, "--lang", "fr", "--share", 0.01, *lenient, "--json")
    told = json.loads(ran.out)
    assert ran.code == 0 and told["why_not"] is None
    assert "espeak" in told["synthesizers"] and told["said"] > 0 and told["others"] > 0
    assert told["voices"]["persons"] == LEAST_PEOPLE
    assert (told["voices"]["strangers"]["said"], told["voices"]["strangers"]["others"]) == (3, 3)
    made = load_head(Path(told["head"]))
    assert made.phrases == (PHRASE,) and made.unclear_at <= made.refuse_at <= made.in_call_at
    assert made.voices == ("person_0", "person_1", "person_2")
    Spotter([PHRASE], [], own=Path(told["head"]).parent)


@speaks
def test_ctrl_c_leaves_nothing(office: Office, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="the extra [train] is not installed")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    config = str(office.folder / "config.toml")
    command = [sys.executable, "-m", "sipagent", "--config", config, "train-keyword", PHRASE, "--lang", "fr"]
    with subprocess.Popen(
        command, env={**os.environ, "TMPDIR": str(scratch)}, stderr=subprocess.PIPE, text=True
    ) as running:
        until = time.monotonic() + 60
        while not list(scratch.glob("*/sounds/train/espeak-*/*/*.wav")):
            assert running.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
    assert (running.returncode, told.strip()) == (1, "sipagent: aborted")
    assert not list(scratch.glob("sipagent-train-*")) and not (office.folder / "heads").exists()
