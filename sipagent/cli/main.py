"""The command line: its commands by name. The module of each is loaded when the command is asked for."""

from collections import UserDict
from functools import cache
from importlib import import_module
from pathlib import Path

import click

from sipagent import __version__
from sipagent.cli import program

WITHOUT_CONFIG = {"init", "demo", "completion"}
COMMANDS = {  # where each is below sipagent.cli, and its short help; what is used daily comes first
    "list": ("list:list_command", "The recordings, newest first."),
    "show": ("list:show_command", "All that is known of one, and every use of it."),
    "calls": ("list:calls_command", "The receipts of all calls, newest first."),
    "stats": ("stats:stats_command", "Calls, refusals, waits, and what is kept."),
    "draws": ("stats:draws_command", "Repeat every draw of the sample, and compare."),
    "register": ("register:register_command", "The entry for the register of processing (GDPR article 30)."),
    "sheet": ("register:sheet_command", "A page for operators, to print."),
    "export": ("use:export_command", "Copy a recording, or all of a caller, into WAV or FLAC files."),
    "play": ("use:play_command", "Play a recording to the sound card."),
    "note": ("hold:note_command", "File the analysis of a call that was listened to."),
    "accesses": ("list:accesses_command", "Every use of recordings, newest first."),
    "purge": ("purge:purge_command", "Remove all that has expired."),
    "delete": ("purge:delete_command", "Forget a call before its time, or all of a caller, and certify it."),
    "hold": ("hold:hold_command", "Keep a recording beyond its date, as testimony."),
    "release": ("hold:release_command", "End a hold."),
    "holds": ("hold:holds_command", "What is on hold, overdue reviews first."),
    "rebuild": ("backup:rebuild_command", "Make a lost database again."),
    "backup": ("backup:backup_command", "Copy all that is kept; the agent may run."),
    "restore": ("backup:restore_command", "Put a backup back, into an empty place."),
    "migrate": ("migrate:migrate_command", "Move all into a database that hosts share, or back."),
    "verify": ("verify:verify_command", "Check the chain, every row, every file, every stamp."),
    "stamp": ("verify:stamp_command", "Have the chain's head stamped by the time stamping authority."),
    "receipt": ("verify:receipt_group", "What a caller gets, and can check."),
    "init": ("init:init_command", "Write a config.toml, make keys, copy the prompts."),
    "keys": ("keys:keys_group", "Who can listen: make, list and rotate keys."),
    "user": ("logins:user_group", "Who may log in to the page."),
    "token": ("logins:token_group", "What programs may ask the page."),
    "check": ("agent:check_command", "Check whether the agent can run well."),
    "notice": ("notice:notice_command", "The notice's words, or whether they say what they must."),
    "detect": ("keyword:detect_command", "What the voice gate and the detector make of sound files."),
    "train-keyword": ("keyword:train_command", "Make a head for a keyword of your own: minutes."),
    "enrol": ("enrol:enrol_command", "Colleagues lend their voices by telephone."),
    "hours": ("notice:hours_command", "Whether the service is open, why, and until when."),
    "today": ("notice:today_command", "Close for a while, or say something before the notice."),
    "run": ("agent:run_command", "Run the agent."),
    "web": ("agent:web_command", "Run the page that people log in to."),
    "status": ("status:status_command", "How the running agent is."),
    "events": ("status:events_group", "What other programs are told, and what of it failed."),
    "hosts": ("status:hosts_command", "The hosts that share the database."),
    "edge": ("agent:edge_command", "Print the configuration of Kamailio."),
    "demo": ("agent:demo_command", "Two calls on this machine, without trunk or phones."),
    "completion": ("agent:completion_command", "Print the completion script of a shell."),
}


class _Commands(UserDict[str, click.Command]):
    """The commands by name, loaded when asked for; in `data` they have only a name and a short help."""

    def __getitem__(self, name: str) -> click.Command:
        return _loaded(name)


@cache
def _loaded(name: str) -> click.Command:
    place, short_help = COMMANDS[name]
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(import_module(f"sipagent.cli.{module}"), attribute)
    command.short_help = short_help
    for one in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
        if one.name not in WITHOUT_CONFIG:
            program.config_option(one)
        program.language_option(one)
    return command


class _Main(program.Program):
    """The group whose commands are listed without being loaded: for help, and for a shell that completes."""

    commands: _Commands

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """As it is listed."""
        command = self.commands.data.get(cmd_name)
        return command and program.translated(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As it is run."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and program.translated(self.commands[args[0]]), rest


_LISTED = {name: click.Command(name, short_help=short_help) for name, (_, short_help) in COMMANDS.items()}


@click.group(
    cls=_Main,
    commands=_Commands(_LISTED),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="SIPAGENT_CONFIG",
    show_envvar=True,
    metavar="PATH",
    help=f"The configuration, also after the command; else config.toml, else {program.SYSTEM_CONFIG}.",
)
@click.option("--lang", **program.LANGUAGE_OPTION)
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
    ctx.obj = program.Workplace(config_path)
