"""What callers hear, and how they say no: [prompts], [refusal]."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from sipagent.config.keys import (
    Digit,
    FilePath,
    Language,
    Number,
    OptionalPath,
    RequiredText,
    Table,
    key,
    known,
    path,
    seconds,
    several,
)
from sipagent.config.refusal_words import words_of

DEFAULT_ENGINE = "embedding"  # of refusal.engine, where it can be loaded
PROMPT = "a WAV file; its words lie in a .txt of the same name"


class PromptFiles(Table):
    """The prompts of another language; a missing one is that of the default language."""

    notice: OptionalPath = key(PROMPT, None)
    welcome: OptionalPath = key(PROMPT, None)
    refused: OptionalPath = key(PROMPT, None)
    confirm: OptionalPath = key(PROMPT, None)
    closed: OptionalPath = key(PROMPT, None)
    unavailable: OptionalPath = key(PROMPT, None)
    hold_music: OptionalPath = key(PROMPT, None)
    please_hold: OptionalPath = key(PROMPT, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSet:
    """What one caller may hear, with absolute paths."""

    language: str
    notice: Path
    welcome: Path
    refused: Path
    confirm: Path
    closed: Path
    unavailable: Path
    hold_music: Path
    please_hold: Path | None
    choose: Path | None = None


def _spoken(value: object, info: ValidationInfo) -> Path:
    """Default to the file that `init` copies; the notice promises a key alone, that of the mode."""
    if value is not None:
        return path(value, info)
    rules = known(info)
    name = f"{info.field_name}"
    if name == "notice":
        name += "_opt_in" * rules.opt_in
    return path(f"prompts/{rules.language}/{name}.wav", info)


def _language_table(value: object) -> object:
    if not isinstance(value, dict):  # a misspelt key, not the table of a language
        raise PydanticCustomError("extra_forbidden", "unknown key")
    return value


Spoken = Annotated[Path, PlainValidator(_spoken)]


class PromptsTable(Table):
    """The prompts of the default language; `[prompts.en]` and the like override some for another."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[PromptFiles, BeforeValidator(_language_table)]]

    notice: Spoken = key(PROMPT, None)
    welcome: Spoken = key(PROMPT, None)
    refused: Spoken = key(PROMPT, None)
    confirm: Spoken = key(PROMPT, None)
    closed: Spoken = key(PROMPT, None)
    unavailable: Spoken = key(PROMPT, None)
    hold_music: FilePath = key(PROMPT, "prompts/hold.wav")
    please_hold: OptionalPath = key(PROMPT, None)
    languages: dict[Number, Language] = key('a table such as { "+33323063007" = "en" }', {})
    choose: OptionalPath = key(PROMPT, None)
    choices: dict[Digit, Language] = key('a table such as { "2" = "en" }', {})

    @property
    def overrides(self) -> Mapping[str, PromptFiles]:
        """The tables of other languages, by language."""
        return self.__pydantic_extra__


def _words(value: object, info: ValidationInfo) -> object:
    """Default to the words of the languages of the notices."""
    return words_of(known(info).languages, str(info.field_name)) if value is None else value


Words = Annotated[tuple[RequiredText, ...], BeforeValidator(_words)]


class RefusalTable(Table):
    """How a caller says no, or yes."""

    mode: Literal["objection", "opt_in"] = key("objection | opt_in", "objection")
    digit: Digit = key("one key of a telephone: 0-9, * or #", "9")
    accept_digit: Digit = key("one key of a telephone: 0-9, * or #", "1")
    engine: Literal["embedding", "vosk", "none"] = key("embedding | vosk | none", DEFAULT_ENGINE)
    vosk_model: OptionalPath = key("the folder of a Vosk model", None)
    second: OptionalPath = key("the folder of a Whisper model in CTranslate2's form", None)
    heads: FilePath = key("a folder of heads that `sipagent train-keyword` made", "heads")
    keywords: Words = several("a list of words", None)
    accept_keywords: Words = several("a list of words", None)
    window_s: float = seconds(0.1, 60, 5.0)
    in_call: Literal["key", "key+voice"] = key("key | key+voice", "key")
    in_call_keywords: Words = several("a list of words", None)

    @property
    def engine_written(self) -> bool:
        """Whether the file names an engine, which then must be loaded."""
        return "engine" in self.model_fields_set

    @property
    def refusing(self) -> tuple[str, ...]:
        """The keys that refuse."""
        return (self.digit,)
