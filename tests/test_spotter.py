"""The detector of the engine "embedding": which phrases it takes, and what it makes of what a head says."""

from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest

from media.hearing.detectors import load_detector
from media.hearing.embedding import (
    DILATIONS,
    KERNEL,
    WARPS,
    Floats,
    Head,
    Tails,
    google_layers,
    load_head,
    save_head,
)
from media.hearing.keyword import DetectorUnavailable, Meaning, StreamPosition, Verdict
from media.hearing.spotter import HEADS, Spotter, known_heads, plain, shared_streams

PHRASES = ("je refuse", "pas d'enregistrement", "oui")
SOUND = np.asarray(np.random.default_rng(1).normal(size=16_000) * 1000, dtype=np.int16)


def saying(likely: tuple[float, ...]) -> dict[str, Floats]:
    """Weights with which every sound has these probabilities, the last one of nothing known."""
    shapes: dict[str, tuple[int, ...]] = {
        **{"mean": (96,), "scale": (96,), "in.w": (192, 2), "in.b": (2,), "mid.w": (4, 2), "mid.b": (2,)},
        **{f"conv{number}.w": (KERNEL, 2, 2) for number in range(len(DILATIONS))},
        **{f"conv{number}.b": (2,) for number in range(len(DILATIONS))},
        "out.w": (2, len(likely)),
    }
    weights: dict[str, Floats] = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    return google_layers() | weights | {"out.b": np.log(np.array(likely, dtype=np.float32))}


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    save_head(tmp_path / "fr.npz", Head("fr", PHRASES, 0.9, 0.5, 0.95, 0.8, saying((0.3, 0.3, 0.3, 0.1))))
    return tmp_path


def judged(folder: Path, likely: tuple[float, ...], accept: tuple[str, ...] = ("oui",)) -> Verdict:
    (head,) = known_heads(folder)
    save_head(folder / "fr.npz", replace(head, weights=saying(likely)))
    return Spotter(["je refuse", "pas d'enregistrement"], accept, folder).judge(SOUND)


@pytest.mark.parametrize(
    ("likely", "meaning", "keyword"),
    [
        ((0.95, 0.02, 0.01, 0.02), Meaning.REFUSE, "je refuse"),
        ((0.40, 0.55, 0.01, 0.04), Meaning.REFUSE, "pas d'enregistrement"),  # which of them is all the same
        ((0.30, 0.40, 0.10, 0.20), Meaning.UNCLEAR, "pas d'enregistrement"),
        ((0.05, 0.05, 0.85, 0.05), Meaning.ACCEPT, "oui"),
        ((0.29, 0.01, 0.65, 0.05), Meaning.OTHER, None),
        ((0.01, 0.01, 0.01, 0.97), Meaning.OTHER, None),
    ],
)
def test_what_a_head_says_becomes_a_verdict(
    heads: Path, likely: tuple[float, ...], meaning: Meaning, keyword: str | None
) -> None:
    verdict = judged(heads, likely)
    assert (verdict.meaning, verdict.keyword) == (meaning, keyword)


@pytest.mark.parametrize(("other_layers", "deepened"), [(False, 2), (True, 3)])
def test_heads_that_share_their_deep_layers_are_deepened_once(
    heads: Path, monkeypatch: pytest.MonkeyPatch, other_layers: bool, deepened: int
) -> None:
    """And each says what it says: three languages, of which two go on from the same layers."""
    own = saying((0.97, 0.03))
    unlike = saying((0.01, 0.99))
    unlike["deep3.w"] = unlike["deep3.w"] * 0.5
    save_head(heads / "de.npz", Head("de", ("nein",), 0.9, 0.5, 0.95, 0.8, own))
    save_head(heads / "en.npz", Head("en", ("no",), 0.9, 0.5, 0.95, 0.8, unlike))
    if other_layers:
        own["deep8.w"] = own["deep8.w"] * 2
        save_head(heads / "de.npz", Head("de", ("nein",), 0.9, 0.5, 0.95, 0.8, own))
    asked: list[Head] = []
    deepen = Head.deepen

    def counted(head: Head, steps: Floats, tails: Tails | None = None) -> Floats:
        asked.append(head)
        return deepen(head, steps, tails)

    monkeypatch.setattr(Head, "deepen", counted)
    verdict = Spotter(["je refuse", "nein", "no"], [], heads).judge(SOUND)
    assert len(asked) == deepened * (1 + len(WARPS))  # once for each vocal tract
    assert (verdict.meaning, verdict.keyword) == (Meaning.REFUSE, "nein")


@pytest.mark.parametrize(
    ("scores", "heard", "views"),
    [
        ((0.95, 0.95), 0.95, 5),
        ((0.95, 0.6), 0.71, 5),
        ((0.95, 0.05), 0.27, 3),  # the nearer two make it improbable enough
        ((0.46, 0.99), 0.97, 5),
        ((0.44, 0.99), 0.44, 1),  # not nearly unclear
    ],
)
def test_what_may_be_a_phrase_is_heard_as_by_other_vocal_tracts_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scores: tuple[float, float], heard: float, views: int
) -> None:
    """Each of five counts alike: the mean of their odds."""
    save_head(tmp_path / "fr.npz", Head("fr", ("je refuse",), 0.9, 0.5, 0.9, 0.8, saying((0.5, 0.5))))
    verdict, asked = judged_by_views(monkeypatch, Spotter(["je refuse"], [], tmp_path), *scores)
    assert asked == views and verdict.confidence == pytest.approx(heard, abs=0.01)
    expected = Meaning.REFUSE if heard >= 0.9 else Meaning.UNCLEAR if heard >= 0.5 else Meaning.OTHER
    assert verdict.meaning is expected


@pytest.mark.parametrize(("plain", "views"), [(0.85, 1), (0.9, 5)])
def test_in_a_call_only_what_nearly_refuses_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plain: float, views: int
) -> None:
    """Nothing else counts there."""
    save_head(tmp_path / "fr.npz", Head("fr", ("je refuse",), 0.9, 0.5, 0.95, 0.8, saying((0.5, 0.5))))
    spotter = Spotter(["je refuse"], [], tmp_path, in_call=True)
    verdict, asked = judged_by_views(monkeypatch, spotter, plain, 0.99)
    assert (verdict.meaning, asked) == (Meaning.REFUSE if views == 5 else Meaning.OTHER, views)


def judged_by_views(
    monkeypatch: pytest.MonkeyPatch, spotter: Spotter, plain: float, warped: float
) -> tuple[Verdict, int]:
    """By a head that finds this in a voice, that in it as by another vocal tract; how often it was asked."""
    scores = chain([plain], repeat(warped))
    asked: list[float] = []

    def classify(head: Head, deep: Floats) -> Floats:
        asked.append(score := next(scores))
        return np.array([score, 1 - score], dtype=np.float32)

    monkeypatch.setattr(Head, "classify", classify)
    return spotter.judge(SOUND), len(asked)


def test_a_phrase_that_was_not_asked_for_is_not_heard(heads: Path) -> None:
    assert judged(heads, (0.01, 0.01, 0.97, 0.01), accept=()).meaning is Meaning.OTHER


@pytest.mark.parametrize(
    ("configured", "likely", "keyword"),
    [
        (("je refuse",), (0.35, 0.61, 0.02, 0.02), "je refuse"),
        (("je refuse", "je refuse l'enregistrement"), (0.35, 0.61, 0.02, 0.02), "je refuse l'enregistrement"),
        (("je refuse l'enregistrement",), (0.61, 0.35, 0.02, 0.02), None),
        (("refuse",), (0.02, 0.03, 0.94, 0.01), "refuse"),
    ],
)
def test_a_phrase_is_heard_among_other_words_too(
    heads: Path, configured: tuple[str, ...], likely: tuple[float, ...], keyword: str | None
) -> None:
    """Where only "je refuse" is configured, "je refuse l'enregistrement" says it."""
    phrases = ("je refuse", "je refuse l'enregistrement", "refuse")
    save_head(heads / "fr.npz", Head("fr", phrases, 0.9, 0.7, 0.95, 0.8, saying(likely)))
    verdict = Spotter(configured, [], heads).judge(SOUND)
    assert (verdict.meaning, verdict.keyword) == (Meaning.REFUSE if keyword else Meaning.OTHER, keyword)


def test_a_sound_too_short_for_a_step_is_nothing(heads: Path) -> None:
    assert Spotter(["je refuse"], [], heads).judge(SOUND[:100]) == Verdict(Meaning.OTHER)


def test_speech_that_has_just_begun_and_goes_on_is_not_judged(heads: Path) -> None:
    (head,) = known_heads(heads)
    save_head(heads / "fr.npz", replace(head, weights=saying((0.95, 0.02, 0.01, 0.02))))
    spotter, early = Spotter(["je refuse"], [], heads), SOUND[: 1300 * 8]
    places = (StreamPosition(1, 0), StreamPosition(1, 0, last=True), None)
    assert [spotter.judge(early, place).meaning for place in places] == [
        Meaning.OTHER,
        Meaning.REFUSE,
        Meaning.REFUSE,
    ]


def test_with_the_last_question_a_stream_is_forgotten(heads: Path) -> None:
    spotter = Spotter(["je refuse"], [], heads)
    for last, kept in ((False, 1), (True, 0)):
        spotter.judge(SOUND, StreamPosition(1, 0, last))
        assert len(shared_streams()) == kept


def test_a_phrase_without_a_head_is_an_error_that_names_it_and_what_there_is(heads: Path) -> None:
    with pytest.raises(DetectorUnavailable) as caught:
        Spotter(["je refuse", "nein danke"], ["si"], heads)
    assert str(caught.value) == (
        "no head for 'nein danke', 'si', and `sipagent train-keyword` makes one that refuses; "
        "accepted: oui, je refuse, pas d'enregistrement"
    )


def test_a_damaged_head_is_an_error_at_start(heads: Path) -> None:
    (heads / "en.npz").write_bytes(b"no head")
    with pytest.raises(DetectorUnavailable, match=r"en\.npz: not a head"):
        Spotter(["je refuse"], [], heads)


@pytest.mark.parametrize(
    "written", ["Pas d’enregistrement !", "pas  d'enregistrement", "PAS D'ENREGISTREMENT"]
)
def test_how_a_phrase_is_written_is_all_the_same(written: str, heads: Path) -> None:
    assert plain(written) == "pas d'enregistrement"
    Spotter([written], [], heads)


def test_what_is_shipped_hears_the_default_keywords() -> None:
    assert {"je refuse", "refuser", "pas d'enregistrement"} <= {
        phrase for head in known_heads() for phrase in head.phrases
    }
    assert load_detector("embedding", ["je refuse", "refuser", "pas d'enregistrement"], ["oui"])
    assert max(path.stat().st_size for path in HEADS.glob("*.npz")) < 1_000_000


def test_a_service_in_two_languages_is_refused_in_either(heads: Path) -> None:
    nothing = saying((0.01, 0.01, 0.01, 0.97))
    save_head(heads / "fr.npz", Head("fr", PHRASES, 0.9, 0.5, 0.95, 0.8, nothing))
    save_head(
        heads / "en.npz", Head("en", ("I refuse", "yes"), 0.9, 0.5, 0.95, 0.8, saying((0.96, 0.02, 0.02)))
    )
    both = Spotter(["je refuse", "I refuse"], [], heads)
    assert both.judge(SOUND) == Verdict(Meaning.REFUSE, "I refuse", 0.96)
    assert Spotter(["je refuse"], [], heads).judge(SOUND).meaning is Meaning.OTHER


@pytest.fixture
def everyday(heads: Path) -> Path:
    """Beside a head that hears nothing, one that hears "non" in every sound."""
    save_head(heads / "fr.npz", Head("fr", PHRASES, 0.9, 0.5, 0.95, 0.8, saying((0.01, 0.01, 0.01, 0.97))))
    doubting = Head("fr", ("non", "je refuse"), 2.0, 0.6, 2.0, 2.0, saying((0.5, 0.4, 0.1)), everyday=True)
    save_head(heads / "fr.everyday.npz", doubting)
    return heads


def test_everyday_words_of_a_language_that_is_listened_for_are_unclear(everyday: Path) -> None:
    assert Spotter(["je refuse"], [], everyday).judge(SOUND) == Verdict(
        Meaning.UNCLEAR, "non", 0.9, everyday=True, refusing=0.01
    )
    assert Spotter(["je refuse"], [], everyday, in_call=True).judge(SOUND).meaning is Meaning.OTHER
    doubting = load_head(everyday / "fr.everyday.npz")
    save_head(everyday / "fr.everyday.npz", replace(doubting, unclear_at=0.95))
    nothing = Verdict(
        Meaning.OTHER, confidence=0.01
    )  # of a refusal; what is hardly doubted says nothing of it
    assert Spotter(["je refuse"], [], everyday).judge(SOUND) == nothing
    save_head(everyday / "fr.everyday.npz", doubting)
    assert Spotter([], ["oui"], everyday).judge(SOUND).meaning is Meaning.OTHER
    save_head(everyday / "en.npz", Head("en", ("I refuse",), 0.9, 0.5, 0.95, 0.8, saying((0.01, 0.99))))
    assert Spotter(["I refuse"], [], everyday).judge(SOUND).meaning is Meaning.OTHER


@pytest.mark.parametrize(
    ("likely", "keyword"), [((0.95, 0.02, 0.01, 0.02), "je refuse"), ((0.02, 0.01, 0.95, 0.02), None)]
)
def test_a_refusal_is_stronger_than_an_everyday_word_and_an_acceptance_is_not(
    everyday: Path, likely: tuple[float, ...], keyword: str | None
) -> None:
    save_head(everyday / "fr.npz", Head("fr", PHRASES, 0.9, 0.5, 0.95, 0.8, saying(likely)))
    verdict = Spotter(["je refuse"], ["oui"], everyday).judge(SOUND)
    assert (verdict.meaning, verdict.keyword) == (
        (Meaning.REFUSE, keyword) if keyword else (Meaning.UNCLEAR, "non")
    )


def test_everyday_words_are_nothing_to_configure(everyday: Path) -> None:
    assert [head.language for head in known_heads(everyday)] == ["fr"]
    with pytest.raises(
        DetectorUnavailable, match=r"no head for 'non'.*accepted: oui, pas d'enregistrement, je refuse$"
    ):
        Spotter(["je refuse", "non"], [], everyday)


def test_the_service_s_own_phrase_brings_its_language_s_everyday_words(
    everyday: Path, tmp_path: Path
) -> None:
    save_head(tmp_path / "own.npz", Head("fr", ("stop",), 0.9, 0.5, 0.95, 2.0, saying((0.03, 0.97))))
    own = tmp_path / "own"
    own.mkdir()
    (tmp_path / "own.npz").rename(own / "fr.stop.npz")
    assert Spotter(["stop"], [], everyday, own=own).judge(SOUND).keyword == "non"


def test_heads_of_ones_own_lie_beside_those_that_are_shipped(heads: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    with pytest.raises(DetectorUnavailable, match="no head for 'stop'"):
        Spotter(["je refuse", "stop"], [], heads, own=own)  # no such folder: no head of one's own
    own.mkdir()
    save_head(own / "fr.stop.npz", Head("fr", ("stop",), 0.9, 0.5, 0.95, 2.0, saying((0.97, 0.03))))
    verdict = Spotter(["je refuse", "stop"], [], heads, own=own).judge(SOUND)
    assert (verdict.meaning, verdict.keyword) == (Meaning.REFUSE, "stop")
    with pytest.raises(DetectorUnavailable, match="no head for 'stop'"):
        Spotter(["je refuse"], ["stop"], heads, own=own)  # it refuses, whatever it is asked for
