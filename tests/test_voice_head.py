"""A head in numpy: its file, and that it computes what it was trained as."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from media.hearing import embedding as heads
from media.hearing.embedding import (
    DEEP,
    DILATIONS,
    KERNEL,
    OTHER,
    REACH,
    WIDTH,
    Floats,
    Head,
    HeadError,
    Tails,
    google_layers,
    load_head,
    save_head,
)
from media.hearing.spotter import HEADS

HIDDEN, MIDDLE = 8, 6
PHRASES = ("je refuse", "oui")


@pytest.fixture
def head() -> Head:
    random = np.random.default_rng(5)
    shapes: dict[str, tuple[int, ...]] = {
        "mean": (DEEP,),
        "scale": (DEEP,),
        "in.w": (2 * DEEP, HIDDEN),
        "in.b": (HIDDEN,),
        "mid.w": (2 * HIDDEN, MIDDLE),
        "mid.b": (MIDDLE,),
        "out.w": (MIDDLE, len(PHRASES) + 1),
        "out.b": (len(PHRASES) + 1,),
    }
    for number in range(len(DILATIONS)):
        shapes |= {f"conv{number}.w": (KERNEL, HIDDEN, HIDDEN), f"conv{number}.b": (HIDDEN,)}
    weights = google_layers() | {
        name: (random.normal(size=shape) * 0.1).astype(np.float32) for name, shape in shapes.items()
    }
    weights = {name: weight.astype(np.float16).astype(np.float32) for name, weight in weights.items()}
    return Head("fr", PHRASES, 0.9, 0.5, 0.95, 0.8, weights)


def steps(count: int) -> Floats:
    return np.random.default_rng(2).normal(size=(count, WIDTH)).astype(np.float32)


def test_probabilities_add_up_to_one_whatever_the_length(head: Head) -> None:
    for count in (1, 3, 40):
        likely = head.probabilities(steps(count))
        assert likely.shape == (len(PHRASES) + 1,)
        assert likely.sum() == pytest.approx(1)


def test_what_came_before_adds_nothing_to_a_deep_step(head: Head) -> None:
    sound = steps(60)
    whole = head.deepen(sound)
    assert whole.shape == (60 - REACH, DEEP)
    assert head.deepen(sound[20:]) == pytest.approx(whole[20:], abs=1e-4)
    assert head.probabilities(sound) == pytest.approx(head.classify(whole))


@pytest.mark.parametrize("cuts", [[40, 43, 45, 60, 60, 61], [1, 2, 3, 9, 13, 14], [30], []])
def test_a_sound_in_pieces_comes_to_the_same(head: Head, cuts: list[int]) -> None:
    sound = steps(90)
    tails: Tails = {}
    pieces = [head.deepen(piece, tails) for piece in np.split(sound, cuts)]
    assert np.concatenate(pieces) == pytest.approx(head.deepen(sound), abs=1e-4)
    assert sum(tail.nbytes for tail in tails.values()) < 20_000


def test_of_too_short_a_sound_the_first_step_stands_for_what_was_before(head: Head) -> None:
    short = steps(4)
    longer = np.concatenate([np.repeat(short[:1], REACH + 1 - 4, axis=0), short])
    assert head.probabilities(short) == pytest.approx(head.probabilities(longer))


def test_a_head_comes_back_from_its_file_as_it_was(head: Head, tmp_path: Path) -> None:
    path = tmp_path / "fr.npz"
    save_head(path, head)
    again = load_head(path)
    assert (again.language, again.phrases) == ("fr", PHRASES)
    assert (again.refuse_at, again.unclear_at, again.in_call_at, again.accept_at) == (0.9, 0.5, 0.95, 0.8)
    assert again.probabilities(steps(9)) == pytest.approx(head.probabilities(steps(9)))
    assert not again.everyday
    save_head(path, replace(head, everyday=True))
    assert load_head(path).everyday


def test_a_convolution_over_time_is_one() -> None:
    values = np.zeros((9, 1), dtype=np.float32)
    values[4] = 1.0
    kernel = np.arange(1, KERNEL + 1, dtype=np.float32).reshape(KERNEL, 1, 1)
    assert heads._convolve(values, kernel, 1).ravel().tolist() == [0, 0, 5, 4, 3, 2, 1, 0, 0]
    assert heads._convolve(values, kernel, 2).ravel().tolist() == [5, 0, 4, 0, 3, 0, 2, 0, 1]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"not a zip at all"])
def test_a_file_that_is_no_head(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "fr.npz"
    path.write_bytes(content)
    with pytest.raises(HeadError, match="not a head") as caught:
        load_head(path)
    assert "\n" not in str(caught.value)


def test_a_head_for_another_embedding(head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fr.npz"
    save_head(path, head)
    monkeypatch.setattr(heads, "SHA256", "0" * 64)
    with pytest.raises(HeadError, match="trained for another speech embedding"):
        load_head(path)


def test_the_trainer_computes_the_same(head: Head) -> None:
    jax_numpy = pytest.importorskip("jax.numpy", reason="the extra [train] is not installed")
    from media.training.fit import forward

    batch = np.zeros((3, 60, WIDTH), dtype=np.float32)
    lengths = (REACH + 1, 30, 59)
    for row, length in enumerate(lengths):
        batch[row, :length] = steps(length)
        batch[row, length:] = 1.0  # what the next sound begins with
    logits = np.asarray(
        forward(head.weights, jax_numpy.asarray(batch), jax_numpy.asarray(lengths, "float32"))
    )
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    for row, length in enumerate(lengths):
        expected = head.probabilities(steps(length))
        assert odds[row] / odds[row].sum() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("tune_deep", "rounds"), [(True, 20), (False, 80)])
def test_a_head_learns_to_tell_sounds_apart(tune_deep: bool, rounds: int) -> None:
    pytest.importorskip("jax", reason="the extra [train] is not installed")
    from media.training.fit import Questions, choose, fit, probabilities

    random = np.random.default_rng(4)
    labels = np.arange(240) % 3  # refuses, accepts, anything else
    sounds = np.array([f"sounds/train/espeak/{label}/{n}.wav" for n, label in enumerate(labels)])
    loud = random.normal(size=(240, 30, WIDTH)) + 3 * labels[:, None, None]
    starts = np.arange(240, dtype=np.int64) * 30
    rows = Questions(loud.reshape(-1, WIDTH).astype(np.float16), starts, starts + 28, labels, sounds)
    *_, (count, _, weights) = fit(rows, ["refuse", "accept", "other"], rounds, 1, tune_deep=tune_deep)
    assert count == rounds
    same = np.array_equal(weights["deep0.w"], google_layers()["deep0.w"])
    assert same is not tune_deep
    assert (probabilities(weights, rows).argmax(axis=1) == labels).mean() > 0.95
    found = choose(weights, rows, 1, 3, [0])
    assert found.unclear_at <= found.refuse_at <= found.in_call_at
    assert (found.recall, found.false_refusals) >= (0.9, 0.0)


@pytest.mark.parametrize(
    ("said", "wrong", "share"),
    [(0.99, 0.9, 0.0025), (0.89, 0.9, 0.01), (0.5, 0.9, 0.04)],
    ids=["told apart", "told apart from most", "hardly told apart"],
)
def test_a_keywords_threshold_is_as_strict_as_its_recall_allows(
    monkeypatch: pytest.MonkeyPatch, said: float, wrong: float, share: float
) -> None:
    pytest.importorskip("jax", reason="the extra [train] is not installed")
    from media.training import fit
    from media.training.fit import Questions

    others = np.linspace(0.0, 0.6, 2000)
    others[:16] = wrong + np.linspace(0.0, 0.01, 16)
    scores = np.concatenate([np.full(100, said), others])
    monkeypatch.setattr(fit, "probabilities_on_calls", lambda *_: np.stack([scores, 1 - scores], axis=1))
    nothing = np.zeros((0, 288), dtype=np.float16)
    places = np.arange(len(scores))
    labels = np.array([0] * 100 + [1] * 2000)
    rows = Questions(nothing, places, places, labels, np.array([f"tune/espeak-0/x/{n}.wav" for n in places]))
    found = fit.strictest({}, rows)
    assert found.false_refusals == pytest.approx(share, abs=0.001)
    assert found == fit.choose({}, rows, 1, 2, [0], near=share)


def test_thresholds_are_chosen_by_what_a_spotter_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """By other vocal tracts too, where it may be a phrase."""
    pytest.importorskip("jax", reason="the extra [train] is not installed")
    from media.training import fit
    from media.training.fit import Questions

    plain, other = np.array([0.4, 0.4, 0.6, 0.99]), np.array([0.99, 0.99, 0.6, 0.01])
    steps = np.zeros((60, 96), dtype=np.float16)
    rows = Questions(
        steps,
        np.arange(4, dtype=np.int64),
        np.arange(4, dtype=np.int64) + 20,
        np.zeros(4, dtype=np.int64),
        np.array(list("abcd")),
        warped=(steps + 1,) * 4,
    )

    def probabilities(_: object, asked: Questions) -> object:
        assert len(asked.starts), "JAX takes none"
        found = (other if asked.steps[0, 0] else plain)[asked.starts]
        return np.stack([found, 1 - found], axis=1).astype(np.float32)

    monkeypatch.setattr(fit, "probabilities", probabilities)
    found = fit.probabilities_on_calls({}, rows)
    assert found[:, 0] == pytest.approx([0.4, 0.4, 0.6, 0.06], abs=0.01)
    nothing = replace(rows, starts=rows.starts[:2])  # none of which may be a phrase
    assert fit.probabilities_on_calls({}, nothing)[:, 0] == pytest.approx(plain[:2])
    bare = replace(rows, warped=())
    assert fit.probabilities_on_calls({}, bare)[:, 0] == pytest.approx(plain)


def test_a_language_takes_over_the_deep_layers_of_another(tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="the extra [train] is not installed")
    from media.training.features import SoundQuestions, write
    from media.training.language import language
    from media.training.shipped import choose_anew, fit_shipped
    from media.training.speech import label

    german, random = language("de"), np.random.default_rng(4)
    names = [*map(label, german.phrases), OTHER]
    for split in ("train", "tune"):
        calls = [
            SoundQuestions(
                name, (steps(30) + 3 * names.index(name)), [(0, 28)], f"s/{split}/espeak/{name}/{number}.wav"
            )
            for name in names
            for number in range(random.integers(3, 6))
        ]
        write(tmp_path / "features" / f"{split}.espeak.npz", calls)
    told = list(fit_shipped(german, tmp_path / "features", tmp_path, 5, like="fr"))
    assert told[0].endswith("to choose thresholds on")
    made, french = load_head(tmp_path / "de.npz"), load_head(HEADS / "fr.npz")
    assert (made.language, made.phrases) == ("de", german.phrases)
    assert np.array_equal(made.weights["deep0.w"], french.weights["deep0.w"])
    card = (tmp_path / "de.md").read_text(encoding="utf-8")
    anew = choose_anew(german, tmp_path / "features", tmp_path, like="fr")
    assert list(anew) and load_head(tmp_path / "de.npz").refuse_at == pytest.approx(made.refuse_at, abs=0.01)
    once = [(tmp_path / f"de.{ending}").read_bytes() for ending in ("npz", "md")]
    save_head(tmp_path / "de.npz", replace(load_head(tmp_path / "de.npz"), refuse_at=0.123))
    list(choose_anew(german, tmp_path / "features", tmp_path, like="fr"))
    assert [(tmp_path / f"de.{ending}").read_bytes() for ending in ("npz", "md")] == once
    assert f"| a refusal from | {load_head(tmp_path / 'de.npz').refuse_at} |".encode() in once[1]
    assert "- ich lehne ab" in card and "| train/espeak |" in card and "with what the fr head heard" in card
