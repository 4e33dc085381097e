"""How `check` and `notice --lint` tell what they found."""

from collections.abc import Sequence
from gettext import ngettext

from sipagent.cli.base import print_json
from sipagent.cli.tables import Column, coded, console, show_table
from sipagent.config.finding import Finding
from sipagent.languages.reason import shown


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Print them, and give the exit code: 1 if one is an error."""
    if as_json:
        print_json([{"level": f.level, "what": f.what, "detail": f.detail} for f in findings])
    else:
        _show(findings)
    return 1 if any(finding.level == "error" for finding in findings) else 0


def _show(findings: Sequence[Finding]) -> None:
    columns: list[Column[Finding]] = [
        Column("", lambda finding: coded("level", finding.level)),
        Column("", lambda finding: shown(finding.what)),
        Column("", lambda finding: shown(finding.detail), wraps=True),
    ]
    screen = console()
    show_table(findings, columns, screen)
    errors, warnings = (sum(finding.level == level for finding in findings) for level in ("error", "warning"))
    said = (
        ngettext("{n} error", "{n} errors", errors).format(n=errors),
        ngettext("{n} warning", "{n} warnings", warnings).format(n=warnings),
    )
    screen.print(f"\n{', '.join(said)}", style="dim")
