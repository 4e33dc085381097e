"""The help of commands in the language that is spoken: translated when it is asked for, not as it is written.

A docstring is translated by paragraphs, whose lines click wraps anew. Of a paragraph that begins with `\\b`,
whose lines stay, each line is a text of its own; of examples the heading alone.
"""

import copy
import inspect
from collections.abc import Iterator
from gettext import gettext, pgettext
from typing import TypeVar

import click

Shown = TypeVar("Shown", bound=click.Command)


def translated(command: Shown) -> Shown:
    """A copy of a command, as people are shown it and as it is run."""
    shown = copy.copy(command)
    shown.help = command.help and _paragraphs(command.help)
    shown.short_help = command.short_help and gettext(command.short_help)
    shown.options_metavar = command.options_metavar and pgettext("metavar", command.options_metavar)
    if isinstance(shown, click.Group):
        shown.subcommand_metavar = pgettext("metavar", shown.subcommand_metavar)
    shown.params = [_parameter(one) for one in command.params]
    return shown


def texts(command: click.Command) -> Iterator[tuple[str | None, str]]:
    """Every text of a command and those below it that a catalogue should have, with its context."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield from ((None, text) for text in _parts(paragraph) if text)
    yield from ((None, text) for text in (command.short_help,) if text)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.help:
            yield None, parameter.help
        if parameter.metavar:
            yield "metavar", parameter.metavar
    if isinstance(command, click.Group):
        yield "metavar", command.subcommand_metavar
        for one in command.commands.values():
            yield from texts(one)


def _parameter(parameter: click.Parameter) -> click.Parameter:
    shown = copy.copy(parameter)
    shown.metavar = parameter.metavar and pgettext("metavar", parameter.metavar)
    if isinstance(shown, click.Option):
        shown.help = shown.help and gettext(shown.help)
    return shown


def _paragraphs(help: str) -> str:
    paragraphs = (_paragraph(one) for one in inspect.cleandoc(help).split("\n\n"))
    return "\n\n".join(paragraphs)


def _paragraph(paragraph: str) -> str:
    if not paragraph.startswith("\b"):
        return gettext(next(_parts(paragraph))) if paragraph.strip() else paragraph
    lines = paragraph.split("\n")
    to_say = set(_parts(paragraph))
    return "\n".join(
        line.replace(line.strip(), gettext(line.strip())) if line.strip() in to_say else line
        for line in lines
    )


def _parts(paragraph: str) -> Iterator[str]:
    if not paragraph.startswith("\b"):
        yield " ".join(paragraph.split())
        return
    _, heading, *lines = map(str.strip, paragraph.split("\n"))
    yield heading
    if not heading.startswith("Example"):
        yield from filter(None, lines)
