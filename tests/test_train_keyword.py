"""`train-keyword`: a head that passes its check is installed whole; colleagues whose voices it learns."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.random import default_rng

from media.frame import Samples
from media.hearing.embedding import DILATIONS, KERNEL, OTHER, Head, google_layers, load_head
from media.hearing.keyword import DetectorUnavailable, Meaning
from media.hearing.spotter import Spotter, known_heads
from media.training import own
from media.training.enrolled import LEAST_PEOPLE, EnrolledPerson, Saying, write_person
from media.training.language import language
from media.training.own import pieces
from media.training.speech import ESPEAK
from media.training.voices import Espeak, Manner
from prompts.speak import VoiceError
from sipagent.cli import keyword as cli_train
from sipagent.voice import own_keyword
from sipagent.voice.own_keyword import (
    Bounds,
    Check,
    CheckedUtterance,
    Rate,
    Trained,
    TrainingFailed,
    figures,
    install,
    why_not,
)
from tests.configured import with_keys
from tests.office import Office
from tests.room import Room

PHRASE = "pas de bande"
FRENCH = language("fr")
NOW = datetime.now(UTC)
speaks = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(Room(tmp_path / "agent").folder, capsys)


def head() -> Head:
    shapes: dict[str, tuple[int, ...]] = {
        **{"mean": (96,), "scale": (96,), "in.w": (192, 2), "in.b": (2,), "mid.w": (4, 2), "mid.b": (2,)},
        **{f"conv{number}.w": (KERNEL, 2, 2) for number in range(len(DILATIONS))},
        **{f"conv{number}.b": (2,) for number in range(len(DILATIONS))},
        "out.w": (2, 2),
    }
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    weights["out.b"] = np.array([5.0, 0.0], dtype=np.float32)
    return Head("fr", (PHRASE,), 0.9, 0.5, 0.95, own.NEVER, google_layers() | weights)


def heard(
    said: str, refused: int, of: int, source: str = "espeak", line: str = "clean", *, both: int | None = None
) -> Iterator[CheckedUtterance]:

    def meaning(number: int, refused: int) -> Meaning:
        return Meaning.REFUSE if number < refused else Meaning.UNCLEAR

    for number in range(of):
        together = None if both is None else meaning(number, both)
        yield CheckedUtterance(said, source, line, meaning(number, refused), together)


def check(refused: int = 19, falsely: int = 0) -> Check:
    return Check(
        (
            *heard(own.KEYWORD, refused, 20),
            *heard(own.KEYWORD, 1, 4, "pico", "20 dB"),
            *heard(own.NEAR, 3, 10),
            *heard(OTHER, falsely, 200, "people"),
        )
    )


STRANGERS = Check((*heard(own.KEYWORD, 29, 30), *heard(OTHER, 0, 60)))


def lend(
    folder: Path,
    phrase: str = PHRASE,
    said: int = 5,
    *,
    code: str = "fr",
    days: int = 1,
    say: Callable[[str], Samples] | None = None,
) -> EnrolledPerson:
    folder.mkdir(parents=True)
    sayings = tuple(
        Saying(f"{n:02d}.wav", each or "Bonjour madame.", each)
        for n, each in enumerate([phrase] * said + [None, None])
    )
    for each in sayings:
        sound = say(each.text) if say else (default_rng(1).normal(size=8000) * 1000).astype(np.int16)
        soundfile.write(folder / each.file, sound, 8000)
    person = EnrolledPerson(folder, folder.name, code, "201", NOW, NOW + timedelta(days=days), sayings)
    write_person(folder, person)
    return person


# --- what is said ---


def test_pieces_of_a_phrase_are_not_the_phrase_and_a_head_has_a_file_name_whatever_its_phrase() -> None:
    assert pieces(PHRASE) == ["bande", "de", "de bande", "pas", "pas bande", "pas de"]
    assert pieces("refuser") == ["re", "ref", "refu"]
    assert own.file_name("l'été / non !", "fr") == "fr.l_ete_non"
    assert own.file_name("нет", "fr") == "fr.35ffe219"


@speaks
def test_what_is_held_back_is_said_by_other_voices_and_not_in_the_same_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own, "LOOKED_AT", 500)
    every = [one for _, part in own.shards(PHRASE, FRENCH, ["espeak"], own.USUAL.share(0.1)) for one in part]
    said = {split: [one for one in every if one.path.parts[0] == split] for split in own.SPLITS}
    for split, utterances in said.items():
        assert {one.manner.voice.partition("+")[2] for one in utterances} <= set(ESPEAK[split])
        assert {own.KEYWORD, OTHER} <= {one.path.parent.name for one in utterances}
    similar = {one.text for one in said["test"] if one.path.parent.name == own.NEAR}
    assert similar and not similar & {one.text for one in said["train"]}
    assert len(every) == len({one.path for one in every})


# --- the check ---


def test_recall_is_that_of_synthesizers_that_were_trained_on() -> None:
    found = check()
    assert (found.recall, found.false_refusals) == (Rate(19, 20), Rate(0, 200))
    assert found.recalls == {"espeak": 0.95, "pico": 0.25, "clean": 0.95, "20 dB": 0.25}
    assert found.near_misses.share == 0.3
    assert found.together is None and figures(found)["with_shipped"] is None
    # with the shipped head beside it more is heard, and more is wrong
    found = Check((*heard(own.KEYWORD, 8, 10, both=9), *heard(OTHER, 0, 100, both=1)))
    together = found.together
    assert together is not None and (found.recall, together.recall) == (Rate(8, 10), Rate(9, 10))
    assert figures(found)["false_refusals"] == 0.0
    assert figures(found)["with_shipped"]["false_refusals"] == 0.01


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


def test_an_interval_is_wilsons() -> None:
    for refused, count, interval in (
        (29, 30, (0.833, 0.994)),
        (0, 60, (0.0, 0.060)),
        (60, 60, (0.940, 1.0)),
        (1, 2, (0.095, 0.905)),
    ):
        assert Rate(refused, count).interval == pytest.approx(interval, abs=0.001)
    assert Rate(0, 0).share is None and Rate(0, 0).interval is None


# --- installing ---


def test_a_head_is_installed_with_its_card_and_heard_by_the_detector_and_only_refuses(tmp_path: Path) -> None:
    place = install(head(), "# the card", tmp_path / "heads", "fr.pas_de_bande")
    assert {path.name for path in place.parent.iterdir()} == {"fr.pas_de_bande.npz", "fr.pas_de_bande.md"}
    sound = np.asarray(default_rng(1).normal(size=16_000) * 1000, dtype=np.int16)
    verdict = Spotter([PHRASE, "je refuse"], [], own=place.parent).judge(sound)
    assert (verdict.meaning, verdict.keyword) == (Meaning.REFUSE, PHRASE)
    with pytest.raises(DetectorUnavailable, match="no head for 'pas de bande'"):
        Spotter(["je refuse"], [PHRASE], own=place.parent)


def test_what_fails_while_it_is_installed_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "heads"
    install(head(), "# the card", folder, "fr.own")
    before = {path: path.read_bytes() for path in folder.iterdir()}

    def full(path: Path, head: Head) -> None:
        path.write_bytes(b"half")
        assert len(known_heads(folder)) == 1  # as one sees it who comes in between
        raise OSError("no space left")

    monkeypatch.setattr(own_keyword, "save_head", full)
    with pytest.raises(OSError, match="no space left"):
        install(head(), "# another card", folder, "fr.own")
    assert len(before) == 2 and {path: path.read_bytes() for path in folder.iterdir()} == before


# --- the command, of a training that comes out as it is told ---


@pytest.fixture
def comes_out(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[own.PhraseMaterial]]:

    def patched(found: Check | None = None, strangers: Check | None = STRANGERS) -> list[own.PhraseMaterial]:
        given: list[own.PhraseMaterial] = []

        def train(phrase: str, _: object, __: object, material: own.PhraseMaterial, ___: object) -> Trained:
            given.append(material)
            labels = tuple(person.folder.name for person in material.voices)
            made = replace(head(), phrases=(phrase,), voices=labels)
            return Trained(made, found or check(), ("espeak",), 7, 10, strangers if labels else None)

        monkeypatch.setattr(cli_train, "train", train)
        return given

    return patched


def test_what_passes_is_installed_and_can_be_configured(office: Office, comes_out: Any) -> None:
    comes_out()
    config = office.folder / "config.toml"
    messages = 'messages = { flood = "prompts/notice.wav" }'
    config.write_text(with_keys("prompts", messages, config.read_text(encoding="utf-8")))
    ran = office.run("train-keyword", "Pas de bande !", "--lang", "fr")
    place = office.folder / "heads/fr.pas_de_bande.npz"
    assert ran.code == 0 and load_head(place).phrases == (PHRASE,)
    assert "95.0% are heard" in ran.out and str(place) in ran.out
    told = place.with_suffix(".md").read_text()
    assert "| recall, 20 times said | 95.0% | 85.0% |" in told and "| recall, pico | 25.0% | |" in told
    keys = 'engine = "embedding"\nkeywords = ["pas de bande"]'
    config.write_text(with_keys("refusal", keys, config.read_text(encoding="utf-8")))
    found = json.loads(office.run("check", "--json").out)
    (line,) = [finding for finding in found if finding["what"] == "refusal.engine"]
    assert (line["level"], line["detail"]) == ("ok", "embedding hears 'pas de bande'")


def test_what_fails_its_check_is_not_installed(office: Office, comes_out: Any) -> None:
    comes_out(check(refused=10))
    ran = office.run("train-keyword", PHRASE, "--lang", "fr", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["head"], told["recall"], told["false_refusals"]) == (1, None, 0.5, 0.0)
    assert told["why_not"] == "it hears 50.0% of those who say it, and 85.0% is the least"
    assert ran.err == f"sipagent: 'pas de bande' is not installed: {told['why_not']}\n"
    assert not (office.folder / "heads").exists()
    assert office.run("train-keyword", PHRASE, "--lang", "fr", "--recall", "40").code == 0
    assert (office.folder / "heads/fr.pas_de_bande.npz").exists()


def test_the_card_says_what_colleagues_reach_and_names_none(office: Office, comes_out: Any) -> None:
    lent, names = office.folder / "lent", ("ann", "bob", "zoe")
    for name in names:
        lend(lent / name)
    given = comes_out()
    ran = office.run("train-keyword", PHRASE, "--lang", "fr", "--voices", lent)
    assert (ran.code, ran.err) == (0, "")
    assert [person.name for person in given[0].voices] == [*names]
    assert "of 30 who say it 96.7% are heard (83% to 99%); 0.0% of 60 other sentences" in ran.out
    place = office.folder / "heads/fr.pas_de_bande.npz"
    card = place.with_suffix(".md").read_text(encoding="utf-8")
    said = "| recall, colleagues whom it was not trained on, 30 times said | 96.7% (83% to 99%) | |"
    assert said in card and "| their other sentences taken for it, 60 | 0.0% (0% to 6%) | |" in card
    assert "3 colleagues, 15 times said; 7 recordings" in card and "These colleagues knew" in card
    assert not any(name in card for name in names)
    assert load_head(place).voices == names  # so that they can be forgotten


def test_who_is_left_out_is_said(office: Office, comes_out: Any) -> None:
    lent = office.folder / "lent"
    lend(lent / "ann")
    past = lend(lent / "bob", days=-1)
    lend(lent / "joe", code="en")
    lend(lent / "zoe", "je refuse")
    comes_out(strangers=None)
    command = ("train-keyword", PHRASE, "--lang", "fr", "--voices", lent)
    ran = office.run(*command, "--json")
    why = f"bob (kept until {past.expires_at:%Y-%m-%d}), joe (speaks en), zoe (never says it)"
    assert (ran.code, ran.err) == (0, f"left out: {why}\n")
    left = [("bob", "expired"), ("joe", "language"), ("zoe", "phrase")]
    assert json.loads(ran.out)["voices"] == {
        "persons": 1,
        "left_out": [{"person": person, "why": why} for person, why in left],
        "strangers": None,
    }
    assert "Colleagues are too few to say what others would reach: at least 3." in office.run(*command).out
    card = (office.folder / "heads/fr.pas_de_bande.md").read_text(encoding="utf-8")
    assert "recall, colleagues" not in card and "1 colleague, 5 times said; " in card


def test_a_phrase_that_shipped_heads_know_may_be_taught_by_colleagues_alone(
    office: Office, comes_out: Any
) -> None:
    lent = office.folder / "lent"
    lend(lent / "ann", "Je refuse")
    lend(lent / "bob", "d'accord")
    comes_out()
    told = office.fails(1, "train-keyword", "Je refuse", "--lang", "fr")
    assert "'je refuse' is heard already, by the head for fr: name it in refusal.keywords" in told
    assert office.run("train-keyword", "je refuse", "--lang", "fr", "--voices", lent).code == 0
    assert (office.folder / "heads/fr.je_refuse.npz").exists()
    told = office.fails(1, "train-keyword", "d'accord", "--lang", "fr", "--voices", lent)
    assert "is heard already" in told  # it accepts, and a second head would refuse


def test_a_mistake_in_the_folder_is_told_in_a_line(office: Office, comes_out: Any) -> None:
    comes_out()
    command = ("train-keyword", PHRASE, "--lang", "fr", "--voices")
    lent = office.folder / "lent"
    nobody, who = "nobody to train on", "; accepted: who says 'pas de bande' in fr"
    assert f"lent: {nobody}{who}" in office.fails(2, *command, lent)
    lent.mkdir()
    assert f"lent: {nobody}{who}" in office.fails(2, *command, lent)
    lend(lent / "joe", code="en")
    assert f"{nobody}, left out: joe (speaks en){who}" in office.fails(2, *command, lent)
    lend(lent / "ann")
    (lent / "ann/06.wav").write_text("no sound")
    assert "ann/06.wav: no sound that can be read" in office.fails(2, *command, lent)
    (lent / "ann/06.wav").unlink()
    assert "ann: 06.wav is missing" in office.fails(2, *command, lent)


def test_what_is_no_phrase_or_language_or_missing_is_told_in_a_line_before_the_work(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, told in (
        (["  !?"], "accepted: words of 60 letters, 8 of them at most"),
        (["a b c d e f g h i"], "accepted: words of 60 letters, 8 of them at most"),
        ([PHRASE, "--lang", "nl"], "'nl' is not one of"),
        ([PHRASE, "--recall", "101"], "101.0 is not in the range"),
    ):
        assert told in office.fails(2, "train-keyword", *words)
    known, absent = importlib.util.find_spec, ("jax", "optax")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else known(name))
    told = office.fails(1, "train-keyword", PHRASE, "--lang", "fr")
    assert "espeak-ng (apt install espeak-ng)" in told
    assert "jax, optax (pip install 'sipagent[train]')" in told
    (office.folder / "heads").write_text("no folder")
    told = office.fails(1, "train-keyword", PHRASE, "--lang", "fr")
    assert "heads: cannot be written to; accepted: such a folder in refusal.heads" in told


def test_a_process_that_fails_is_told_in_a_line() -> None:
    for wrong, told in (
        (VoiceError("no such speaker"), "speak: no such speaker"),
        (BrokenProcessPool(), "speak: a process was ended; is there enough memory?"),
    ):
        failed: Future[None] = Future()
        failed.set_exception(wrong)
        with pytest.raises(TrainingFailed, match=re.escape(told)):
            own_keyword._all([failed], "speak", lambda what, done, total: None)


# --- and in earnest, with a hundredth of the work ---


def spoken(text: str, manner: Manner) -> Samples:
    return np.pad(Espeak().say(text, manner)[::2], 4000)


@speaks
def test_a_head_is_made_from_nothing_but_voices(office: Office) -> None:
    pytest.importorskip("jax", reason="the extra [train] is not installed")
    for number in range(LEAST_PEOPLE):
        say = partial(spoken, manner=Manner(f"fr+{ESPEAK['tune'][number]}", 1.0, 1.0))
        lend(office.folder / f"lent/person_{number}", said=1, say=say)
    lenient = ("--recall", 0, "--false-refusals", 100, "--voices", office.folder / "lent")
    ran = office.run("train-keyword", PHRASE, "--lang", "fr", "--share", 0.01, *lenient, "--json")
    told = json.loads(ran.out)
    assert ran.code == 0 and told["why_not"] is None
    assert "espeak" in told["synthesizers"] and told["said"] > 0 and told["others"] > 0
    assert told["voices"]["persons"] == LEAST_PEOPLE
    assert (told["voices"]["strangers"]["said"], told["voices"]["strangers"]["others"]) == (3, 6)
    made = load_head(Path(told["head"]))
    assert made.phrases == (PHRASE,) and made.unclear_at <= made.refuse_at <= made.in_call_at
    assert made.voices == ("person_0", "person_1", "person_2")
    Spotter([PHRASE], [], own=Path(told["head"]).parent)


@speaks
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_it_leaves_neither_a_head_nor_a_process(office: Office, tmp_path: Path, by: int) -> None:
    pytest.importorskip("jax", reason="the extra [train] is not installed")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    config = str(office.folder / "config.toml")
    command = [sys.executable, "-m", "sipagent", "--config", config, "train-keyword", PHRASE, "--lang", "fr"]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        while not list(scratch.glob("*/sounds/train/[!p]*/*/*.wav")):  # what a worker says
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(by)
        _, told = running.communicate()
    if by == signal.SIGINT:
        assert (running.returncode, told.strip()) == (1, "sipagent: aborted")
        assert not list(scratch.glob("sipagent-train-*"))
    assert not (office.folder / "heads").exists()
    with suppress(ProcessLookupError):
        for _ in range(1200):
            os.killpg(running.pid, 0)
            time.sleep(0.05)
        pytest.fail("a worker has outlived it")
