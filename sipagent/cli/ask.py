"""A question before doing something to several calls, or something other than what was typed.

A person at a terminal is asked; a program gives `--yes`.
"""

import sys

import click

from sipagent.cli.base import Decorated, Failure


def yes_option(command: Decorated) -> Decorated:
    """`--yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask: for programs.")(command)


def agree(question: str, *, yes: bool) -> None:
    """Go on if the answer is yes. Raises Failure for a no, and without a terminal to ask at."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure("nobody can be asked here; accepted: --yes, or a terminal")
    if not click.confirm(question, err=True):
        raise Failure("nothing was done")
