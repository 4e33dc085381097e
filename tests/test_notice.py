"""A prompt is accepted whole or refused with one line that says why."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.prompt import ACCEPTED, PromptError, inspect_prompt


def _write(path: Path, *, rate: int = 8000, seconds: float = 1.0, channels: int = 1, **options: str) -> Path:
    time = np.arange(round(rate * seconds)) / rate
    tone = np.round(8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
    sound = np.column_stack([tone] * channels) if channels > 1 else tone
    soundfile.write(path, sound, rate, **{"subtype": "PCM_16", "format": "WAV", **options})
    return path


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_good_prompt_with_its_words(tmp_path: Path, rate: int) -> None:
    path = _write(tmp_path / "notice.wav", rate=rate, seconds=1.25)
    (tmp_path / "notice.txt").write_text("Cet appel peut être enregistré.\n", encoding="utf-8")
    prompt = inspect_prompt(path)
    assert (prompt.path, prompt.rate, prompt.duration_ms) == (path, rate, 1250)
    assert prompt.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert prompt.words == "Cet appel peut être enregistré."


def test_a_file_that_was_written_anew_is_another_one(tmp_path: Path) -> None:
    path = _write(tmp_path / "notice.wav")
    prompt, content = inspect_prompt(path), path.read_bytes()
    assert prompt.is_unchanged()
    path.touch()
    path.rename(tmp_path / "copy.wav")
    assert not prompt.is_unchanged()  # it is gone
    path.write_bytes(content)
    assert prompt.is_unchanged()  # the same sound in another file
    path.write_bytes(content[:-2] + b"\1\1")
    assert not prompt.is_unchanged()
    assert inspect_prompt(path).is_unchanged()


def test_the_words_of_both_rates_or_none(tmp_path: Path) -> None:
    paths = [_write(tmp_path / "notice.wav"), _write(tmp_path / "notice.16k.wav", rate=16000)]
    for text, words in ((None, None), ("", None), (" \n", None), ("Bonjour.\n", "Bonjour.")):
        if text is not None:
            (tmp_path / "notice.txt").write_text(text, encoding="utf-8")
        assert [inspect_prompt(path).words for path in paths] == [words, words]
    (tmp_path / "notice.txt").write_bytes("enregistré".encode("latin-1"))
    with pytest.raises(PromptError, match=r"notice\.txt: is not UTF-8 text"):
        inspect_prompt(paths[0])


def test_a_line_among_the_words_says_where_the_essential_part_ends(tmp_path: Path) -> None:
    """It is none of the words; without it the essential part ends with the sound."""
    paths = [_write(tmp_path / "notice.wav"), _write(tmp_path / "notice.16k.wav", rate=16000)]
    text = tmp_path / "notice.txt"
    for line, ms in (("[essential 0.8 s]", 800), ("  [Essential 1 s]  ", 1000)):
        text.write_text(f"Office. Recorded.\n{line}\nGoodbye.\n", encoding="utf-8")
        for prompt in map(inspect_prompt, paths):
            assert (prompt.essential_ms, prompt.essential) == (ms, "Office. Recorded.")
            assert prompt.words and prompt.words.split() == ["Office.", "Recorded.", "Goodbye."]
    text.write_text("Office. An [essential] word.", encoding="utf-8")
    prompt = inspect_prompt(paths[0])
    assert (prompt.essential_ms, prompt.essential) == (1000, prompt.words)


@pytest.mark.parametrize(
    "lines", ["[essential 1.1 s]", "[essential 0 s]", "[essential 0,8 s]", "[essential]", "[essential 0.8 s",
              "[essential 0.8 s]\n[essential 0.9 s]"],
)  # fmt: skip
def test_a_line_that_cannot_be_meant_is_an_error(tmp_path: Path, lines: str) -> None:
    path = _write(tmp_path / "notice.wav")
    (tmp_path / "notice.txt").write_text(f"Office.\n{lines}\nGoodbye.", encoding="utf-8")
    with pytest.raises(PromptError) as raised:
        inspect_prompt(path)
    line = lines.splitlines()[-1]
    accepted = "one line such as [essential 8.4 s], above 0 and at most the length of the sound, 1.0 s"
    assert str(raised.value) == f"{path.with_suffix('.txt')}: has a line {line}; accepted: {accepted}"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"rate": 44100}, "has 44100 Hz"),
        ({"channels": 2}, "has 2 channels"),
        ({"subtype": "PCM_24"}, "holds Signed 24 bit PCM"),
        ({"subtype": "ALAW"}, "holds A-Law"),
        ({"format": "FLAC"}, "is a file of another kind, FLAC"),
        ({"format": "WAVEX"}, "is a file of another kind, WAVEX"),
        ({"seconds": 0.0}, "holds no sound"),
        ({"seconds": 60.01}, "is 60.01 s long"),
    ],
)
def test_what_the_engine_would_not_play(
    tmp_path: Path, options: dict[str, float | str], problem: str
) -> None:
    path = _write(tmp_path / "p.wav", **options)  # type: ignore[arg-type]
    with pytest.raises(PromptError, match=re.escape(problem)) as caught:
        inspect_prompt(path)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert str(caught.value).endswith(f"; accepted: {ACCEPTED}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_silent_no_sound_or_none_at_all(tmp_path: Path) -> None:
    path, silent = _write(tmp_path / "p.wav", seconds=60), tmp_path / "silent.wav"
    assert inspect_prompt(path).duration_ms == 60_000
    whole = _write(path).read_bytes()
    soundfile.write(silent, np.zeros(8000, dtype=np.int16), 8000, subtype="PCM_16")
    for content, problem in (
        (whole[:-1000], "cut short: its header promises 8000 samples, it holds 7500"),
        (silent.read_bytes(), "nothing but silence"),
        (b"", "is empty"),
        (b"hello, world" * 10, "not a readable sound file"),
    ):
        path.write_bytes(content)
        with pytest.raises(PromptError, match=problem):
            inspect_prompt(path)
    for there, problem in ((tmp_path / "absent.wav", "does not exist"), (tmp_path, "is not a file")):
        with pytest.raises(PromptError, match=problem):
            inspect_prompt(there)
