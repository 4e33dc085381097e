"""The filters that `list` and `calls` share: options of the command line → a Selection."""

import re
from collections.abc import Callable
from gettext import gettext as _
from typing import Any, TypeVar

import click
import phonenumbers

from retention.recording import Status
from retention.rows.selection import Selection
from sipagent.cli.base import Decorated, Workplace, now
from sipagent.cli.times import parse_moment
from sipagent.config.identity import to_e164

Value = TypeVar("Value")

_MOMENT = "a date, a date and time, yesterday, 12h, 7d, 2w"
_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--since", metavar="TIME", help=f"Begun at or after: {_MOMENT}."),
    click.option("--until", metavar="TIME", help="Begun before; a date alone includes that day."),
    click.option("--caller", metavar="NUMBER", help="As you would dial it, or how it begins or ends."),
    click.option(
        "--reference", metavar="R", help="The call's own: 482913, as the operator tells who hides the number."
    ),
    click.option("--operator", metavar="EXTENSION", help="201, or the whole address."),
    click.option(
        "--status", type=click.Choice([status.value for status in Status]), help="Of the recording."
    ),
    click.option("--held", is_flag=True, help="Only what is on legal hold."),
    click.option("--flagged", is_flag=True, help="Only what an operator has flagged."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most the N newest."),
)


def filter_options(command: Decorated) -> Decorated:
    """Add the options that `selection` understands."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def selection(
    work: Workplace,
    *,
    since: str | None,
    until: str | None,
    caller: str | None,
    reference: str | None = None,
    operator: str | None,
    status: str | None,
    held: bool,
    flagged: bool,
    limit: int | None,
    **others: Any,
) -> Selection:
    """Read the options. Raises ConfigError, and click.UsageError for one that cannot be read."""
    service = work.config.service
    present = now()
    forms = _read("--caller", caller, lambda text: caller_forms(text, service.country)) or ()
    number = forms[0] if len(forms) == 1 and to_e164(forms[0], service.country) == forms[0] else None
    return Selection(
        since=_read("--since", since, lambda text: parse_moment(text, present, service.timezone)),
        until=_read("--until", until, lambda text: parse_moment(text, present, service.timezone, end=True)),
        number=number,
        caller=() if number else forms,
        reference=_read("--reference", reference, call_reference),
        operator=operator,
        status=Status(status) if status else None,
        held=held,
        flagged=flagged,
        limit=limit,
        **others,
    )


def period_of(work: Workplace, since: str | None, until: str | None) -> Selection:
    """Read only the options of the period. Raises the errors of `selection`."""
    return selection(
        work,
        since=since,
        until=until,
        caller=None,
        operator=None,
        status=None,
        held=False,
        flagged=False,
        limit=None,
    )


def _read(option: str, text: str | None, read: Callable[[str], Value]) -> Value | None:
    if text is None:
        return None
    try:
        return read(text)
    except ValueError as error:
        raise click.UsageError(
            _("{option}: {problem}").format(option=option, problem=error), click.get_current_context()
        ) from error


def call_reference(typed: str) -> str:
    """`482913`, also from `#482 913` or the end of an id. Raises ValueError."""
    reference = re.sub(r"[\s.#-]", "", typed).lower()
    if re.fullmatch(r"[0-9a-f]{6}", reference, re.ASCII) is None:
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
