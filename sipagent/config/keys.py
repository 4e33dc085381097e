"""The vocabulary in which `tables` declare keys: types that check themselves, and `key()`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo

from sipagent.config import types

Text = Annotated[str, PlainValidator(types.text)]
RequiredText = Annotated[str, PlainValidator(types.required_text)]
Uri = Annotated[str, PlainValidator(types.sip_uri)]
Digit = Annotated[str, PlainValidator(types.digit)]
Code = Annotated[str, PlainValidator(types.code)]
Period = Annotated[str, PlainValidator(types.period)]
Number = Annotated[str, PlainValidator(types.called_number)]
HeaderName = Annotated[str, PlainValidator(types.header_name)]
HeaderValue = Annotated[str, PlainValidator(types.header_value)]
Language = Annotated[str, PlainValidator(types.language)]


def optional(parse: Any) -> PlainValidator:
    """Take an empty text as a missing key, as the documentation says."""
    return PlainValidator(lambda value: None if value is None or value == "" else parse(value))


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a file before its keys are read: pydantic's validation context."""

    file: Path  # as it was named
    base: Path  # absolute; paths are relative to it
    language: str  # the language of the default prompts
    languages: tuple[str, ...]  # that language, and those of the other notices
    opt_in: bool  # their notice asks for a yes


def known(info: ValidationInfo) -> Known:
    assert isinstance(info.context, Known), "a configuration is made by sipagent.config only"
    return info.context


def path(value: object, info: ValidationInfo) -> Path:
    return known(info).base / types.required_text(value)


def _optional_path(value: object, info: ValidationInfo) -> Path | None:
    return None if value is None or value == "" else path(value, info)


FilePath = Annotated[Path, PlainValidator(path)]
OptionalPath = Annotated[Path | None, PlainValidator(_optional_path)]
OptionalServer = Annotated[str | None, optional(types.sip_server)]


def key(accepted: str, default: Any = ..., **limits: Any) -> Any:
    """Declare a key: what it takes, in words, and its default in the words of the file."""
    return Field(default, description=accepted, validate_default=default is not ..., **limits)


def seconds(lowest: float, highest: float, default: float) -> Any:
    """Declare a key that takes seconds."""
    return key(f"seconds, {lowest:g} to {highest:g}", default, ge=lowest, le=highest, allow_inf_nan=False)


def several(accepted: str, default: Any = ..., least: int = 0) -> Any:
    """Declare a key that takes a list."""
    return key(accepted, default, min_length=least, strict=False)


class Table(BaseModel):
    """A table of the file: no unknown key, no conversion of types, no change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)
