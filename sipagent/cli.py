"""The command line. Each command is in the module that its import names; this one puts them together."""

from pathlib import Path

import click

from sipagent import (
    __version__,
    cli_accesses,
    cli_agent,
    cli_delete,
    cli_detect,
    cli_draws,
    cli_edge,
    cli_hold,
    cli_hours,
    cli_keys,
    cli_list,
    cli_note,
    cli_notice,
    cli_purge,
    cli_rebuild,
    cli_register,
    cli_rotate,
    cli_show,
    cli_stamp,
    cli_stats,
    cli_train,
    cli_use,
    cli_verify,
)
from sipagent.cli_base import SYSTEM_CONFIG, Program, Workplace, config_option

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
@click.version_option(__version__, message="sipagent %(version)s")
@click.pass_context
def cli(ctx: click.Context, config_path: Path | None) -> None:
    """A SIP agent that records calls only with the caller's informed will.

    Exit codes: 0 done, 1 refused or failed or no such id, 2 wrong usage or configuration.

    \b
    Examples:
      sipagent init && sipagent check && sipagent run
      sipagent list --since yesterday
    """
    ctx.obj = Workplace(config_path)


for _command in (
    cli_list.list_command,
    cli_show.show_command,
    cli_list.calls_command,
    cli_stats.stats_command,
    cli_draws.draws_command,
    cli_register.register_command,
    cli_use.export_command,
    cli_use.play_command,
    cli_note.note_command,
    cli_accesses.accesses_command,
    cli_purge.purge_command,
    cli_delete.delete_command,
    cli_hold.hold_command,
    cli_hold.release_command,
    cli_hold.holds_command,
    cli_rebuild.rebuild_command,
    cli_verify.verify_command,
    cli_stamp.stamp_command,
    cli_agent.init_command,
    cli_keys.keys_group,
    cli_agent.check_command,
    cli_notice.notice_command,
    cli_detect.detect_command,
    cli_train.train_command,
    cli_hours.hours_command,
    cli_agent.run_command,
    cli_edge.edge_command,
    cli_agent.demo_command,
    cli_agent.completion_command,
):
    cli.add_command(_command)
cli_keys.keys_group.add_command(cli_rotate.rotate_command)
for _command in (*cli.commands.values(), *cli_keys.keys_group.commands.values()):
    if _command.name not in WITHOUT_CONFIG:
        config_option(_command)
