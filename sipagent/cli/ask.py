"""A question before something is done that concerns several calls, or is not as it was typed.

Whoever sits at a terminal is asked; a program says `--yes`.
"""

import sys

import click

from sipagent.cli.base import Decorated, Failure


def yes_option(command: Decorated) -> Decorated:
    """`--yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask: for programs.")(command)


def agree(question: str, *, yes: bool) -> None:
    """Go on if the answer is yes. Raises Failure for a no, and where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure("nobody can be asked here; accepted: --yes, or a terminal")
    if not click.confirm(question, err=True):
        raise Failure("nothing was done")
