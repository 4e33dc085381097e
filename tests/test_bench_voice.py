"""The bench of voices: the same cases for every head, true intervals, one look a version at what is apart.

And how the second opinion's weights are fitted: no more is taken for a refusal than may be."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from media.frame import Samples
from media.hearing.embedding import OTHER
from media.hearing.keyword import Meaning, StreamPosition, Verdict
from media.hearing.spotter import HEADS
from media.training.features import read
from media.training.language import language
from media.training.speech import SpokenFile, label, write
from media.training.voices import Manner
from sipagent.agent.admission import SHIPPED
from tests.bench import voice, voice_cases, voice_figures
from tests.bench.opinions import ASKED, FALSE_PEOPLE, Opinions, as_toml, fitted, told
from tests.bench.voice import BEGIN, END, look, table, written
from tests.bench.voice_cases import LINES, PEOPLE, Ground
from tests.bench.voice_figures import Listeners, Row

FRENCH = language("fr")
VOICE = np.asarray(read(SHIPPED / "fr/refused.wav")[:8000] * 32767, dtype=np.int16)
REFUSED = label("je refuse")


class Mouth:
    """Says the same, whatever it is told."""

    def say(self, text: str, manner: Manner) -> Samples:
        return np.repeat(VOICE, 2)


class Ear:
    """Hears what is said as one thing."""

    every_ms = 400

    def __init__(self, meaning: Meaning) -> None:
        self.verdict = Verdict(meaning, "je refuse", 0.99)

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        return self.verdict


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three sources with a few sounds each."""
    near = FRENCH.near[3]
    for split in ("test", "release"):
        for source, name, text in (
            *[("espeak", REFUSED, "Je refuse.")] * 3,
            *[("pico", REFUSED, "Je refuse.")] * 2,
            *[("espeak", OTHER, near), ("espeak", OTHER, "Il fait beau."), ("people", OTHER, "Hallo.")],
        ):
            place = tmp_path / "sounds" / split / source / name
            number = len([*place.glob("*")])
            write(Mouth(), SpokenFile(place, text, Manner("fr+f4", 1.0, 0.9)), place / f"{number:05d}.wav")
    return tmp_path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What costs minutes isn't measured here."""
    parts = {name: voice_figures.PARTS[name] for name in ("promised", "recall", "false")}
    monkeypatch.setattr(voice_figures, "PARTS", parts)
    hiss = np.random.default_rng(1).normal(size=20_000)
    monkeypatch.setattr(voice_cases, "backgrounds", lambda *_: {"babble": hiss, "television": hiss})
    yield


def test_every_head_is_asked_about_the_same_samples(folder: Path) -> None:
    pytest.importorskip("av", reason="the extra [train] is not installed")

    def samples(limit: int) -> dict[tuple[Path, str], int]:
        ground = Ground(folder, FRENCH, "test", limit)
        return {
            (one.path, line): zlib.crc32(ground.heard(one, line).tobytes()) for one, line in ground.planned()
        }

    assert samples(100) == samples(100) and len(samples(100)) == 8
    assert len(samples(1)) == 4  # one that says a phrase and one that doesn't, of each source
    ground = Ground(folder, FRENCH, "test", 100)
    ground.utterances = [next(one for one in ground.utterances if one.label == REFUSED)] * (2 * len(LINES))
    assert sorted(line for _, line in ground.planned()) == sorted([*LINES] * 2)  # each has its turn


def test_the_readme_has_a_place_for_the_table_and_takes_it_twice_the_same() -> None:
    page = voice.README.read_text(encoding="utf-8")
    new = table([Row("a", 1.0, "1 %", "≤ 2 %"), Row("b", 1.0, "3 %", "", "line", "recall")], "on what")
    once = written(page, new)
    assert written(once, new) == once
    assert once.replace(new, "") == written(page, "")
    assert "| a | ≤ 2 % | 1 % |" in once and "| by line | recall |" in once


@pytest.fixture
def bench(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Its arguments: an ear of ours, and copies of what it may write."""
    pytest.importorskip("av", reason="the extra [train] is not installed")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(voice, "README", readme)
    monkeypatch.setattr(voice, "LEDGER", tmp_path / "looks.jsonl")
    ear = Ear(Meaning.REFUSE)
    monkeypatch.setattr(voice, "listeners", lambda *_: Listeners(ear, ear, ear))
    return ["--folder", str(folder), "--echoes", "0"]


def test_what_is_asked_for_is_written_and_nothing_else(bench: list[str], tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = CliRunner().invoke(voice.main, [*bench, "--json"])
    assert done.exit_code == 0, done.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    kept, page = tmp_path / "cases.json", tmp_path / "page.html"
    asked = [*bench, "--write", "--keep", str(kept), "--html", str(page)]
    assert CliRunner().invoke(voice.main, asked).exit_code == 0
    once = voice.README.read_text(encoding="utf-8")
    assert once.startswith("before\n") and once.endswith("after\n") and "5 refusals" in once
    assert CliRunner().invoke(voice.main, [*asked, "--before", str(kept)]).exit_code == 0
    assert "of the same cases: heard now, not before |  | 0 of 8" in voice.README.read_text(encoding="utf-8")
    assert "<svg" in page.read_text(encoding="utf-8")


def test_a_release_is_looked_at_once(bench: list[str], tmp_path: Path) -> None:
    """A second look needs a word, and the ledger says so."""
    asked = [*bench, "--split", "release", "--json"]
    first, second = (CliRunner().invoke(voice.main, asked) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 1)
    assert re.fullmatch(r"Error: release: \S+ was looked at in 'fr' on .*--again[^\n]*\n", second.output)
    assert CliRunner().invoke(voice.main, [*asked, "--again"]).exit_code == 0
    other = look("de", HEADS, tmp_path / "looks.jsonl", again=False)
    assert not other["again"] and re.fullmatch(r"[0-9a-f]{40}\+?", other["commit"])
    assert len(other["heads"]["fr.npz"]) == 64
    lines = (tmp_path / "looks.jsonl").read_text(encoding="utf-8").splitlines()
    assert ['"again": true' in line for line in lines] == [False, True, False]


# --- the weights of the second opinion ---

REFUSING = ("je refuse", "refuser")
WORDS_ASKED = tuple(f"mot {number}" for number in range(ASKED + 2))
PHRASES = (*REFUSING, *WORDS_ASKED)


def opinions() -> Opinions:
    """Refusals: most are liked by either, few by both. The last two everyday words are never heard."""
    random = np.random.default_rng(1)
    sources, labels, scores, refused, gains = [], [], [], [], []
    for number in range(4000):
        kind, word = number % 4, number // 4 % len(WORDS_ASKED)
        said = (OTHER, OTHER, label(REFUSING[number % 8 // 4]), label(WORDS_ASKED[word]))
        sources.append(PEOPLE if kind == 0 else "espeak")
        labels.append(said[kind])
        refuses, known = kind == 2, random.random() < 0.7
        scores.append(random.beta(60, 1) if refuses and known else random.beta(1, 60))
        refused.append(scores[-1] > 0.98)
        gain = random.normal(0, 1, len(PHRASES))
        if refuses and not known:
            gain[: len(REFUSING)] += 6
        if kind == 3 and word < ASKED:
            gain[len(REFUSING) + word] += 6
        gains.append(gain)
    return Opinions(np.array(sources), np.array(labels), np.array(scores), np.array(refused), np.array(gains))


def test_weights_refuse_what_either_is_sure_of_and_no_more_of_the_rest_than_may_be() -> None:
    found = opinions()
    weights = fitted(found, PHRASES, len(REFUSING))
    lines = dict(line.split(": ", 1) for line in told(found, weights, PHRASES, len(REFUSING)))
    refuse = {name: float(line.split("refuse ")[1].partition("%")[0]) / 100 for name, line in lines.items()}
    assert refuse["espeak, refuses"] > 0.95
    assert refuse[f"{PEOPLE}, {OTHER}"] <= FALSE_PEOPLE + 0.001
    assert 0.1 < weights.unclear_at <= weights.refuse_at <= 1
    assert list(weights.left_out) == list(WORDS_ASKED[ASKED:])
    assert f'left_out = ["{WORDS_ASKED[ASKED]}"' in as_toml(weights)
    assert weights.asked(WORDS_ASKED) == list(WORDS_ASKED[:ASKED])
    assert weights.asked(["lieber nicht"]) == ["lieber nicht"]
