"""A question before doing something to several calls, or something other than what was typed.

A person at a terminal is asked; a program gives `--yes`.
"""

import sys
from gettext import gettext as _

import click

from sipagent.cli.base import Decorated, Failure


def yes_option(command: Decorated) -> Decorated:
    """`--yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask: for programs.")(command)


def confirmed(question: str) -> bool:
    """Ask at the terminal; whatever is no clear answer is asked again, none is a no.

    `y` and `yes` are a yes in every language. Raises click.Abort.
    """
    yes = ("y", "yes", *_("y yes").split())
    no = ("n", "no", "", *_("n no").split())
    while True:
        typed = (
            click.prompt(question, prompt_suffix=_(" [y/N]: "), default="", show_default=False, err=True)
            .strip()
            .lower()
        )
        if typed in (*yes, *no):
            return typed in yes
        click.echo(_("Error: invalid input"), err=True)


def agree(question: str, *, yes: bool) -> None:
    """Go on if the answer is yes. Raises Failure for a no, and without a terminal to ask at."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(_("nobody can be asked here; accepted: --yes, or a terminal"))
    if not confirmed(question):
        raise Failure(_("nothing was done"))
