"""What callers hear before they are recorded: `notice`."""

import textwrap
from gettext import gettext as _
from typing import Any

import click

from media.prompt import PromptError
from sipagent.cli.base import Failure, Workplace, json_option, print_json
from sipagent.cli.findings import show_findings
from sipagent.cli.tables import console, show_fields
from sipagent.cli.times import in_seconds
from sipagent.notice.notices import SpokenNotice, spoken_notices


@click.command("notice", short_help="The notice's words, or whether they say what they must.")
@click.option(
    "--lint", is_flag=True, help="Check words and sound of every prompt in use; exit 1 on an error."
)
@json_option
@click.pass_obj
@click.pass_context
def notice_command(ctx: click.Context, work: Workplace, *, lint: bool, as_json: bool) -> None:
    """Show the notice of each language, with its length and hash; or check what callers hear.

    --lint reads the words in the .txt beside each sound: who records, that the call is recorded, what for,
    how long it is kept, how to refuse (or accept), and that no prompt promises what the agent does not do.
    And it listens: as long as its words, loud enough, not clipped.

    \b
    Examples:
      sipagent notice
      sipagent notice --lint
    """
    config = work.config
    if lint:
        from sipagent.check import notice as check_notice

        ctx.exit(show_findings(list(check_notice.lint(config)), as_json=as_json))
    try:
        notices = spoken_notices(config)
    except PromptError as error:
        raise Failure(*error.args) from error
    if as_json:
        print_json([_json(notice, work) for notice in notices])
        return
    screen = console()
    for notice in notices:
        ways = ", ".join((*notice.numbers, *(_("key {key}").format(key=key) for key in notice.keys)))
        narrowed = ways and notice.language != config.service.language  # which all other callers hear
        title = f"{notice.language}: {ways}" if narrowed else notice.language
        show_fields(_fields(notice, work), screen, title)


def _fields(notice: SpokenNotice, work: Workplace) -> list[tuple[str, str | None]]:
    json = _json(notice, work)
    lines: list[str] | list[None] = textwrap.wrap(json["words"] or "", 100) or [None]
    return [
        (_("file"), json["file"]),
        (_("length"), in_seconds(json["duration_s"])),
        ("sha256", json["sha256"]),
        *(("" if place else _("words"), line) for place, line in enumerate(lines)),
    ]


def _json(notice: SpokenNotice, work: Workplace) -> dict[str, Any]:
    """`file` is relative to the configuration if below it, as in a recording's row."""
    path, base = notice.prompt.path, work.config.base
    return {
        "language": notice.language,
        "numbers": list(notice.numbers),
        "keys": list(notice.keys),
        "file": str(path.relative_to(base) if path.is_relative_to(base) else path),
        "duration_s": notice.prompt.duration_ms / 1000,
        "sample_rate": notice.prompt.rate,
        "sha256": notice.prompt.sha256,
        "words": notice.prompt.words,
    }
