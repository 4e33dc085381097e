"""Callers' numbers and references of calls, as people type them."""

import re

import phonenumbers

from sipagent.config.identity import to_e164
from sipagent.languages.spoken import gettext as _


def call_reference(typed: str) -> str:
    """`482913`, also from `#482 913` or the end of an id. Raises ValueError."""
    reference = re.sub(r"[\s.#-]", "", typed)
    if re.fullmatch(r"\d{6}", reference, re.ASCII) is None:
        said = _("{typed!r} is not the reference of a call; accepted: 482913, the end of an id")
        raise ValueError(said.format(typed=typed))
    return reference


def caller_forms(typed: str, country: str) -> tuple[str, ...]:
    """Every form that a typed number, or its beginning or end, may have in the rows.

    `06 12 34 56 78` is one number, `+33612345678`. A part, `0612`, may be the beginning or the end, so it is
    both `+33612…` and `…0612`. Raises ValueError.
    """
    number = to_e164(typed, country)
    if number is not None and number.startswith("+"):
        return (number,)
    digits = re.sub(r"[\s\-.()/]", "", typed)
    if re.fullmatch(r"\+?\d{1,20}", digits, re.ASCII) is None:
        said = _("{typed!r} is not a number; accepted: 06 12 34 56 78, +33612345678, or a part of it")
        raise ValueError(said.format(typed=typed))
    if digits.startswith("+"):
        return (digits,)
    if digits.startswith("00"):
        return (f"+{digits[2:]}", digits)
    if digits.startswith("0"):
        return (f"+{phonenumbers.country_code_for_region(country)}{digits[1:]}", digits)
    return (f"+{digits}", digits)
