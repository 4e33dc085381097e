"""The command line. Each command is in the module that its import names; this one puts them together."""

from pathlib import Path

import click

from sipagent import __version__
from sipagent.cli import (
    accesses,
    agent,
    backup,
    delete,
    hold,
    init,
    keys,
    keyword,
    logins,
    migrate,
    notice,
    purge,
    register,
    show,
    stats,
    status,
    use,
    verify,
)
from sipagent.cli import list as cli_list
from sipagent.cli.enrol import enrol_command
from sipagent.cli.program import (
    LANGUAGE_OPTION,
    SYSTEM_CONFIG,
    Program,
    Workplace,
    config_option,
    language_option,
)

WITHOUT_CONFIG = {"init", "demo", "completion"}


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="SIPAGENT_CONFIG",
    show_envvar=True,
    metavar="PATH",
    help=f"The configuration, also after the command; else config.toml, else {SYSTEM_CONFIG}.",
)
@click.option("--lang", **LANGUAGE_OPTION)
@click.version_option(__version__, message="sipagent %(version)s")
@click.pass_context
def cli(ctx: click.Context, config_path: Path | None) -> None:
    """A SIP agent that tells callers before it records, and records nobody who refuses.

    Exit codes: 0 done, 1 refused or failed or no such id, 2 wrong usage or configuration.

    \b
    Examples:
      sipagent init && sipagent check && sipagent run
      sipagent list --since yesterday
    """
    ctx.obj = Workplace(config_path)


for _command in (
    cli_list.list_command,
    show.show_command,
    cli_list.calls_command,
    stats.stats_command,
    stats.draws_command,
    register.register_command,
    use.export_command,
    use.play_command,
    hold.note_command,
    accesses.accesses_command,
    purge.purge_command,
    delete.delete_command,
    hold.hold_command,
    hold.release_command,
    hold.holds_command,
    backup.rebuild_command,
    backup.backup_command,
    backup.restore_command,
    migrate.migrate_command,
    verify.verify_command,
    verify.stamp_command,
    init.init_command,
    keys.keys_group,
    logins.user_group,
    logins.token_group,
    agent.check_command,
    notice.notice_command,
    keyword.detect_command,
    keyword.train_command,
    enrol_command,
    notice.hours_command,
    agent.run_command,
    agent.web_command,
    status.status_command,
    status.hosts_command,
    agent.edge_command,
    agent.demo_command,
    agent.completion_command,
):
    cli.add_command(_command)
keys.keys_group.add_command(keys.rotate_command)
_GROUPS = (keys.keys_group, logins.user_group, logins.token_group)
for _command in (*cli.commands.values(), *(one for group in _GROUPS for one in group.commands.values())):
    if _command.name not in WITHOUT_CONFIG:
        config_option(_command)
    language_option(_command)
