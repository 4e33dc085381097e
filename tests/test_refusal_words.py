"""What is listened for where no words are configured."""

from pathlib import Path

import pytest

from media.hearing.embedding import Head
from media.hearing.spotter import known_heads
from media.training.language import language
from sipagent.config import refusal_words
from sipagent.config.refusal_words import WORDS, words_of
from tests.configured import SMALL, read, with_keys

ENGLISH = 'languages = { "+33323063007" = "en" }\n[prompts.en]\nnotice = "prompts/en/notice.wav"'


@pytest.fixture
def every_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in WORDS:
        (tmp_path / f"{code}.npz").touch()
    monkeypatch.setattr(refusal_words, "_HEADS", tmp_path)


@pytest.mark.usefixtures("every_head")
def test_the_words_are_those_of_the_languages_that_notices_are_in() -> None:
    french = read(SMALL).refusal
    assert french.keywords == ("ne m'enregistrez pas", "je refuse", "refuser", "pas d'enregistrement")
    both = read(with_keys("prompts", ENGLISH, SMALL)).refusal
    assert both.keywords == (*french.keywords, *WORDS["en"]["keywords"])
    assert both.accept_keywords == ("oui", "j'accepte", "yes", "I accept")
    assert both.in_call_keywords[-2:] == ("stop recording", "do not record me")
    assert read(with_keys("service", 'language = "es"', SMALL)).refusal.keywords == WORDS["es"]["keywords"]


@pytest.mark.usefixtures("every_head")
def test_a_key_that_leads_to_a_language_counts_too() -> None:
    choosing = 'choose = "choose.wav"\nchoices = { "2" = "de" }\n[prompts.de]\nnotice = "de.wav"'
    assert "ich lehne ab" in read(with_keys("prompts", choosing, SMALL)).refusal.keywords


@pytest.mark.usefixtures("every_head")
def test_words_that_are_written_down_are_all_there_is() -> None:
    text = with_keys("refusal", 'keywords = ["stop"]', with_keys("prompts", ENGLISH, SMALL))
    refusal = read(text).refusal
    assert refusal.keywords == ("stop",)
    assert refusal.accept_keywords == ("oui", "j'accepte", "yes", "I accept")


def test_a_language_without_words_adds_none_and_alone_has_the_french_ones() -> None:
    assert words_of(["fr", "nl", "fr"], "keywords") == WORDS["fr"]["keywords"]
    assert words_of(["nl"], "keywords") == WORDS["fr"]["keywords"]


def test_a_language_without_a_head_adds_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fr.npz").touch()
    monkeypatch.setattr(refusal_words, "_HEADS", tmp_path)
    assert words_of(["fr", "en"], "keywords") == WORDS["fr"]["keywords"]


@pytest.mark.parametrize("head", known_heads(), ids=lambda head: head.language)
def test_the_shipped_heads_hear_them_all(head: Head) -> None:
    code = head.language
    spoken = language(code)
    assert set(WORDS[code]["keywords"]) <= set(head.phrases) & set(spoken.refusing)
    assert set(WORDS[code]["accept_keywords"]) <= set(head.phrases) & set(spoken.accepting)
    assert set(WORDS[code]["in_call_keywords"]) <= set(head.phrases) & set(spoken.in_call)
