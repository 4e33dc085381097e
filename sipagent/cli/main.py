"""The command line. Each command is in the module that its import names; this one puts them together."""

from pathlib import Path

import click

from sipagent import __version__
from sipagent.cli.base import (
    LANGUAGE_OPTION,
    Program,
    Workplace,
    config_option,
    language_option,
)
from sipagent.cli.enrol import enrol_command
from sipagent.cli.init import command as init
from sipagent.cli.recordings import (
    accesses,
    backup,
    delete,
    draws,
    hold,
    migrate,
    note,
    purge,
    rebuild,
    restore,
    show,
    stamp,
    stats,
    use,
    verify,
)
from sipagent.cli.recordings import (
    list as cli_list,
)
from sipagent.cli.setup import (
    agent,
    detect,
    edge,
    hosts,
    hours,
    keys,
    notice,
    register,
    rotate,
    status,
    token,
    train,
    user,
    web,
)
from sipagent.cli.usual import SYSTEM_CONFIG

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
    draws.draws_command,
    register.register_command,
    use.export_command,
    use.play_command,
    note.note_command,
    accesses.accesses_command,
    purge.purge_command,
    delete.delete_command,
    hold.hold_command,
    hold.release_command,
    hold.holds_command,
    rebuild.rebuild_command,
    backup.backup_command,
    restore.restore_command,
    migrate.migrate_command,
    verify.verify_command,
    stamp.stamp_command,
    init.init_command,
    keys.keys_group,
    user.user_group,
    token.token_group,
    agent.check_command,
    notice.notice_command,
    detect.detect_command,
    train.train_command,
    enrol_command,
    hours.hours_command,
    agent.run_command,
    web.web_command,
    status.status_command,
    hosts.hosts_command,
    edge.edge_command,
    agent.demo_command,
    agent.completion_command,
):
    cli.add_command(_command)
keys.keys_group.add_command(rotate.rotate_command)
_GROUPS = (keys.keys_group, user.user_group, token.token_group)
for _command in (*cli.commands.values(), *(one for group in _GROUPS for one in group.commands.values())):
    if _command.name not in WITHOUT_CONFIG:
        config_option(_command)
    language_option(_command)
