"""What goes and what comes back: `purge`, `rebuild`."""

from datetime import datetime, timedelta

import click
from rich.console import Console
from rich.progress import Progress

from retention.orphans import Orphan
from retention.purge import Removal, Report, preview, purge
from retention.rebuild import Problem, rebuild
from retention.recording import Access, Json, to_text
from sipagent.cli_base import (
    Failure,
    Workplace,
    by_option,
    json_option,
    now,
    print_json,
    system_user,
)
from sipagent.cli_tables import Column, console, show_table
from sipagent.cli_times import counted, full, parse_moment, size

_MANY = 20  # recordings, from which a purge shows its progress
_PROBLEMS: list[Column[Problem | Orphan]] = [
    Column("file", lambda found: found.name),
    Column("problem", lambda found: found.problem, wraps=True),
]
_TOLERANCE = timedelta(seconds=1)  # a `--now` typed as the present is not the future


@click.command("purge", short_help="Remove all that has expired.")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.option(
    "--now", "at", metavar="TIME", help="As if it were then. In the future: --dry-run or --force --by."
)
@click.option("--force", is_flag=True, help="With --now in the future: do it.")
@by_option
@json_option
@click.pass_obj
@click.pass_context
def purge_command(
    ctx: click.Context,
    work: Workplace,
    /,
    *,
    dry_run: bool,
    at: str | None,
    force: bool,
    by: str | None,
    as_json: bool,
) -> None:
    """Remove all that has expired and is not held, and say what and why.

    The agent does it by itself every hour. Receipts past retention.receipts_period lose what leads to a
    person.

    \b
    Examples:
      sipagent purge --dry-run
      sipagent purge --dry-run --now 2027-06-01
    """
    moment = _moment(work, at)
    if moment > now() + _TOLERANCE and not dry_run and not (force and by):
        raise Failure(
            "--now is in the future: what has not expired would go; accepted with --dry-run, or --force --by"
        )
    archive = work.archive(make=not dry_run)
    if dry_run:
        report = preview(archive, moment, work.terms)
    else:
        asked = Access(at=now(), action="purge", by=by, system_user=system_user()) if by else None
        with Progress(console=console(stderr=True), transient=True, disable=as_json) as progress:
            bar = progress.add_task("purging", visible=False)

            def step(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total, visible=total >= _MANY)

            report = purge(archive, moment, work.terms, step, asked)
    if as_json:
        print_json(_report_json(report, moment, dry_run))
    else:
        _show_report(work, report, dry_run, console())
    ctx.exit(1 if report.failed else 0)


@click.command("rebuild", short_help="Make a lost database again.")
@json_option
@click.pass_obj
@click.pass_context
def rebuild_command(ctx: click.Context, work: Workplace, as_json: bool) -> None:
    """Make a lost database again, from the files beside the recordings.

    Says what could not be recovered (exit 1 then). Receipts and the trace of uses are in the database alone.

    \b
    Example:
      sipagent rebuild
    """
    archive = work.archive(make=True)
    done = rebuild(archive)
    user = system_user()
    detail = f"{counted(len(done.restored), 'recording')} restored, {counted(len(done.problems), 'problem')}"
    archive.store.add_access(Access(at=now(), action="rebuild", system_user=user, detail=detail))
    if as_json:
        problems = [{"name": problem.name, "problem": problem.problem} for problem in done.problems]
        print_json({"restored": list(done.restored), "known": done.known, "problems": problems})
    else:
        screen = console()
        for id in done.restored:
            screen.print(f"restored  {id}")
        screen.print(f"{len(done.restored)} restored, {done.known} were known.")
        if done.restored:
            screen.print("Receipts, uses and tombstones from before are lost.")
        if done.problems:
            screen.print("\nNot recovered, or not wholly:", style="bold")
            show_table(done.problems, _PROBLEMS, screen)
    ctx.exit(1 if done.problems else 0)


def _moment(work: Workplace, at: str | None) -> datetime:
    if at is None:
        return now()
    try:
        return parse_moment(at, now(), work.config.service.timezone)
    except ValueError as error:
        raise click.UsageError(f"--now: {error}", click.get_current_context()) from error


def _report_json(report: Report, at: datetime, dry_run: bool) -> Json:
    return {
        "now": to_text(at),
        "dry_run": dry_run,
        "purged": [
            {
                "id": gone.id,
                "started_at": to_text(gone.started_at),
                "due_at": to_text(gone.due_at),
                "bytes": gone.bytes,
                "why": gone.why,
            }
            for gone in report.removed
        ],
        "failed": [{"id": id, "problem": problem} for id, problem in report.failed],
        "receipts": report.receipts,
        "unlinked": [{"name": orphan.name, "problem": orphan.problem} for orphan in report.unlinked],
        "orphans": [{"name": orphan.name, "problem": orphan.problem} for orphan in report.orphans],
    }


def _show_report(work: Workplace, report: Report, dry_run: bool, screen: Console) -> None:
    if report.removed:
        columns: list[Column[Removal]] = [
            Column("id", lambda gone: gone.id),
            Column("due", lambda gone: full(work.local(gone.due_at))),
            Column("size", lambda gone: size(gone.bytes), right=True),
            Column("why", lambda gone: gone.why, wraps=True),
        ]
        show_table(report.removed, columns, screen)
        screen.print()
    would = "would be " if dry_run else ""
    if not report.removed and not report.receipts and not report.unlinked:
        screen.print("Nothing to purge.")
    if report.removed:
        total = size(sum(gone.bytes for gone in report.removed))
        screen.print(f"{len(report.removed)} {would}purged, {total}.")
    if report.receipts:
        verb = "would lose" if dry_run else "lost"
        screen.print(f"{counted(report.receipts, 'receipt')} {verb} what leads to a person.")
    for title, found in (
        (f"Files without a right to be there, {would}removed:", report.unlinked),
        ("Left for you to look at:", report.orphans),
    ):
        if found:
            screen.print(f"\n{title}", style="bold")
            show_table(found, _PROBLEMS, screen)
    if report.failed:
        screen.print("\nNot removed, the next purge tries again:", style="bold red")
        show_table(
            report.failed,
            [Column("id", lambda f: f[0]), Column("problem", lambda f: f[1], wraps=True)],
            screen,
        )
