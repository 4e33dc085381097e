"""The bench of voices: the same cases for every head, true intervals, one look a version at what is apart."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from media.frame import Samples
from media.hearing.embedding import OTHER
from media.hearing.keyword import Meaning, StreamPosition, Verdict
from media.training.features import read
from media.training.language import language
from media.training.speech import SoundLabel, SpokenFile, label, write
from media.training.voices import Manner
from sipagent.agent.admission import SHIPPED
from sipagent.config.refusal_words import WORDS
from sipagent.voice.detectors import Detected
from tests.bench import voice, voice_cases, voice_figures
from tests.bench.voice_cases import LINES, Case, Ground, Utterance
from tests.bench.voice_figures import Listeners, Measuring, Row, Share, rows
from tests.bench.voice_page import BEGIN, END, NoPlace, changed, curves, html, key, table, written
from tests.bench.voice_releases import AlreadyLooked, look, looks, version_of_now

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

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

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


def measured(folder: Path, verdict: Verdict, echoes: int = 0) -> Measuring:
    ear, ground = Ear(verdict), Ground(folder, FRENCH, "test", 100)
    return Measuring(FRENCH, ground, Listeners(ear, ear, ear), ground.cases(ear), echoes)


def utterance(source: str, voice_name: str, pitch: float = 1.0) -> Utterance:
    return Utterance(
        Path(source, REFUSED, "0.wav"), source, REFUSED, SoundLabel("Je refuse.", voice_name, pitch)
    )


def case(kind: str, said: str, score: float) -> Case:
    meaning = Meaning.REFUSE if score > 0.9 else Meaning.OTHER
    detected = Detected((Verdict(meaning, None, score),), None, None, 0.0, 1.0)
    return Case(replace(utterance(kind, ""), label=said), "clean", detected, 0)


@pytest.mark.parametrize(
    ("found", "of", "low", "high"), [(0, 10, 0.0, 27.75), (5, 10, 23.66, 76.34), (10, 10, 72.25, 100.0)]
)
def test_an_interval_is_wilsons(found: int, of: int, low: float, high: float) -> None:
    assert Share(found, of).interval == pytest.approx((low, high), abs=0.01)
    assert str(Share(0, 0)) == "none measured"


def test_there_are_twelve_lines() -> None:
    assert len(LINES) == 12


def test_every_head_is_asked_about_the_same_samples(folder: Path) -> None:
    def samples(limit: int) -> dict[str, int]:
        ground = Ground(folder, FRENCH, "test", limit)
        sounds = {
            key(Case(one, line, Detected((), None, None, 0, 1), 0)): (one, line)
            for one, line in ground.planned()
        }
        return {
            name: zlib.crc32(ground.arrives(read(one.path), LINES[line], one.random(line)).tobytes())
            for name, (one, line) in sounds.items()
        }

    pytest.importorskip("av", reason="the extra [train] is not installed")
    assert samples(100) == samples(100) and len(samples(100)) == 8
    assert len(samples(1)) == 4  # one that says a phrase and one that doesn't, of each source


def test_each_line_has_its_turn_with_each_phrase(folder: Path) -> None:
    ground = Ground(folder, FRENCH, "test", 100)
    one = next(one for one in ground.utterances if one.label == REFUSED)
    ground.utterances = [one] * (2 * len(LINES))
    lines = [line for _, line in ground.planned()]
    assert sorted(lines) == sorted([*LINES] * 2)


@pytest.mark.parametrize(
    ("source", "name", "pitch", "told"),
    [
        ("espeak", "fr+f4", 1.0, "women"),
        ("espeak", "fr-be+m4", 1.0, "men"),
        ("espeak", "fr+grandpa", 1.0, "old people"),
        ("espeak", "fr+klatt4", 1.0, "not told"),
        ("kokoro", "af_bella", 1.0, "women"),
        ("kokoro", "am_echo+bm_lewis:0.5", 1.0, "men"),
        ("kokoro", "am_echo+bf_lily:0.5", 1.0, "of a woman and a man"),
        ("pico", "fr-FR", 0.8, "Pico, lowered"),
        ("pico", "fr-FR", 1.2, "Pico, raised"),
        ("mbrola", "mb-fr4", 1.0, "women"),
        ("mbrola", "mb-fr6", 1.0, "men"),
        ("people", "", 1.0, "not told"),
    ],
)
def test_a_voice_tells_whose_it_is(source: str, name: str, pitch: float, told: str) -> None:
    assert utterance(source, name, pitch).speaker == told


def test_figures_are_told_by_kind_line_phrase_and_speaker(folder: Path) -> None:
    pytest.importorskip("av", reason="the extra [train] is not installed")
    everything = measured(folder, Verdict(Meaning.REFUSE, "je refuse", 0.99))
    found = {row.title: row for row in rows(everything)}
    assert found["recall, other voices of known kinds"].shown.startswith("100.0 % (43.9 to 100.0), 3 of 3")
    assert found["recall, kinds of voice never trained on"].value == 100
    assert found["of a hundred who say something else, not recorded for it"].value == 100
    assert found["false refusals per utterance, people"].shown.endswith("1 of 1")
    assert found["false refusals per utterance, near sentences"].shown.endswith("1 of 1")
    assert found["false refusals per utterance, other synthetic sentences"].shown.endswith("1 of 1")
    assert {row.title for row in rows(everything, ["false"])} < set(found)
    groups = {row.group for row in found.values()}
    assert groups == {"", "line", "synthesizer", "phrase", "speaker"}


@pytest.mark.parametrize(("heard_of", "recorded"), [(4, 0.0), (3, 25.0)])
def test_a_town_hall_is_told_how_many_of_a_hundred(heard_of: int, recorded: float) -> None:
    """Of voices that no head heard; those of known kinds say nothing of strangers."""
    best, short = (label(phrase) for phrase in WORDS["fr"]["keywords"][:2])
    cases = [case("pico", best, 0.95 if number < heard_of else 0.1) for number in range(4)]
    cases += [case("espeak", best, 0.1), case("mbrola", short, 0.95), case("mbrola", short, 0.1)]
    cases += [case("people", OTHER, 0.95), case("people", OTHER, 0.1)]
    nobody = Listeners(*[Ear(Verdict(Meaning.OTHER))] * 3)
    found = [row.value for row in voice_figures.promised(Measuring(FRENCH, None, nobody, cases, 0))]  # type: ignore[arg-type]
    assert found == [100 - recorded, 50, recorded, 50]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What costs minutes isn't measured here."""
    names = ("promised", "recall", "false")
    parts = {name: voice_figures.PARTS[name] for name in names}
    monkeypatch.setattr(voice_figures, "PARTS", parts)
    hiss = np.random.default_rng(1).normal(size=20_000)
    monkeypatch.setattr(voice_cases, "backgrounds", lambda *_: {"babble": hiss, "television": hiss})
    yield


def test_a_curve_has_all_thresholds_and_the_one_that_is_shipped() -> None:
    cases = [case("pico", REFUSED, score) for score in (0.2, 0.6, 0.95, 0.99)]
    cases += [case("people", OTHER, score) for score in (0.0, 0.1, 0.3, 0.92)]
    nobody = Listeners(*[Ear(Verdict(Meaning.OTHER))] * 3)
    (curve,) = curves(Measuring(FRENCH, None, nobody, cases, 0))  # type: ignore[arg-type]
    assert curve.kind == "unknown kinds" and curve.at == (25.0, 50.0)
    assert [curve.recall_at(false) for false in (0, 25, 50)] == [50.0, 75.0, 100.0]
    assert curve.false[-1] == 100.0 and curve.recall[-1] == 100.0
    page = html([Row("a < b", 1.0, "1 %")], [curve], "on what")
    assert "a &lt; b" in page and "<svg" in page and "as shipped" in page
    assert not re.search(r"<script|(?:href|src)=.https?:", page)


def test_the_readme_has_a_place_for_the_table_and_takes_it_twice_the_same() -> None:
    page = voice.README.read_text(encoding="utf-8")
    assert page.count(BEGIN) == page.count(END) == 1
    new = table([Row("a", 1.0, "1 %", "≤ 2 %"), Row("b", 1.0, "3 %", "", "line", "recall")], "on what")
    once = written(page, new)
    assert written(once, new) == once
    assert once.replace(new, "") == written(page, "")
    assert "| a | ≤ 2 % | 1 % |" in once and "| by line | recall |" in once


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_its_place_is_told(page: str) -> None:
    with pytest.raises(NoPlace):
        written(page, "")


def test_a_second_look_at_a_version_needs_a_word_and_is_told(tmp_path: Path) -> None:
    ledger, heads = tmp_path / "looks.jsonl", tmp_path / "heads"
    heads.mkdir()
    (heads / "fr.npz").write_bytes(b"weights")
    first = look("fr", heads, ledger, again=False)
    assert looks(ledger) == [first] and first.version == version_of_now() and not first.again
    assert len(first.heads["fr.npz"]) == 64 and re.fullmatch(r"[0-9a-f]{40}\+?", first.commit)
    with pytest.raises(AlreadyLooked, match=r"^release: \S+ was looked at in 'fr' on .*--again[^\n]*$"):
        look("fr", heads, ledger, again=False)
    assert looks(ledger) == [first]
    assert not look("de", heads, ledger, again=False).again
    assert look("fr", heads, ledger, again=True).again


@pytest.fixture
def bench(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Its arguments: an ear of ours, and copies of what it may write."""
    pytest.importorskip("av", reason="the extra [train] is not installed")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(voice, "README", readme)
    monkeypatch.setattr(voice, "LEDGER", tmp_path / "looks.jsonl")
    ear = Ear(Verdict(Meaning.REFUSE, "je refuse", 0.99))
    monkeypatch.setattr(voice, "listeners", lambda *_: Listeners(ear, ear, ear))
    return ["--folder", str(folder), "--echoes", "0"]


def test_nothing_is_written_that_was_not_asked_for(bench: list[str], tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = CliRunner().invoke(voice.main, [*bench, "--json"])
    assert done.exit_code == 0, done.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_is_asked_for_is_written(bench: list[str], tmp_path: Path) -> None:
    kept, page = tmp_path / "cases.json", tmp_path / "page.html"
    asked = [*bench, "--write", "--keep", str(kept), "--html", str(page)]
    assert CliRunner().invoke(voice.main, asked).exit_code == 0
    once = voice.README.read_text(encoding="utf-8")
    assert once.startswith("before\n") and once.endswith("after\n") and "5 refusals" in once
    assert CliRunner().invoke(voice.main, [*asked, "--before", str(kept)]).exit_code == 0
    assert "of the same cases: heard now, not before |  | 0 of 8" in voice.README.read_text(encoding="utf-8")
    assert "<svg" in page.read_text(encoding="utf-8")


def test_a_release_is_looked_at_once(bench: list[str], tmp_path: Path) -> None:
    asked = [*bench, "--split", "release", "--json"]
    first, second = (CliRunner().invoke(voice.main, asked) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 1)
    assert "was looked at in 'fr'" in second.output and len(second.output.splitlines()) == 1
    assert CliRunner().invoke(voice.main, [*asked, "--again"]).exit_code == 0
    assert [one.again for one in looks(tmp_path / "looks.jsonl")] == [False, True]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--again"], "only for --split release"),
        (["--write", "--lang", "de"], "is of 'fr', not of 'de'"),
        (["--write", "--only", "recall"], "writes the whole table, without --only"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(options: list[str], told: str) -> None:
    done = CliRunner().invoke(voice.main, options)
    assert done.exit_code == 1 and told in done.output and len(done.output.splitlines()) == 1


def test_two_runs_are_compared_case_by_case() -> None:
    now = [case("pico", REFUSED, 0.99), case("people", OTHER, 0.1)]
    before = {key(now[0]): "other", key(now[1]): "refuse", "gone": "refuse"}
    assert [row.shown for row in changed(before, now)] == ["1 of 2", "1 of 2"]
