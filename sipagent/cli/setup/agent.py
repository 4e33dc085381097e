"""Setting up and running: `check`, `run`, `demo`, `completion`."""

from contextlib import nullcontext
from gettext import gettext as _
from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from sipagent.cli.base import Failure, Workplace, json_option, now
from sipagent.cli.findings import show_findings
from sipagent.cli.setup.web import beside, refuse_without
from sipagent.config import examples

if TYPE_CHECKING:
    from sipagent.check.check import EngineFacts
    from sipagent.config.load import Config
    from sipagent.service.systemd import Systemd


@click.command("check", short_help="Check whether the agent can run well.")
@json_option
@click.pass_obj
@click.pass_context
def check_command(ctx: click.Context, work: Workplace, as_json: bool) -> None:
    """Check configuration, prompts, disk, database, engine and ports. Exit 1 on an error.

    \b
    Example:
      sipagent --config /etc/sipagent/config.toml check
    """
    config = work.config
    from sipagent.check.check import checks

    ctx.exit(show_findings(checks(config, engine_facts, now()), as_json=as_json))


def engine_facts() -> "EngineFacts":
    """Ask the engine in a process of its own. ImportError: it is not installed; EOFError: it died."""
    from sipagent.check.check import EngineFacts
    from sipagent.pjsip import about
    from sipagent.service.processes.children import asked

    return EngineFacts(*asked(f"{about.__name__}:tell"))


@click.command("run", short_help="Run the agent.")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@click.option(
    "--drain-s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="S",
    help="How long SIGTERM waits for calls in progress.",
)
@click.option("--web", "with_page", is_flag=True, help="Run the page beside it (`sipagent web`).")
@click.pass_obj
@click.pass_context
def run_command(
    ctx: click.Context, work: Workplace, /, *, log_json: bool, drain_s: float, with_page: bool
) -> None:
    """Run the agent until SIGTERM or Ctrl-C. Logs to stderr.

    Where one process does not carry the calls, or a network can reach it, there are workers behind an edge.

    \b
    Example:
      sipagent --config /etc/sipagent/config.toml run --log-json
    """
    config = work.config  # what is wrong with it is said before the engine is loaded
    if not config.trunk.listen.is_loopback:
        examples.refuse(config.service, config.file)
    if with_page:
        refuse_without(config.web)
    if (begun := config.places.restoring).exists():
        raise Failure(
            _(
                "{path}: a backup was begun to be put back here; accepted: once more `sipagent restore`"
            ).format(path=begun)
        )
    from sipagent.service import supervision
    from sipagent.service.systemd import Systemd

    systemd = Systemd.from_environment()  # before any process is started
    run = _supervised if supervision.needed(config) else _in_one_process
    with beside(config.file, log_json=log_json) if with_page else nullcontext():
        code = run(config, log_json, drain_s, systemd)
    ctx.exit(code)


def _supervised(config: "Config", log_json: bool, drain_s: float, systemd: "Systemd") -> int:
    from sipagent.edge.rpc import EdgeError
    from sipagent.service import supervision

    try:
        return supervision.run(config, log_json=log_json, drain_s=drain_s, systemd=systemd)
    except EdgeError as error:
        raise Failure(*error.args) from error


def _in_one_process(config: "Config", log_json: bool, drain_s: float, systemd: "Systemd") -> int:
    from sipagent.pjsip import EngineError
    from sipagent.service import one_process
    from sipagent.service.processes.children import end_server

    end_server()  # which may have asked an engine, and has nothing more to do
    try:
        return one_process.run(config, log_json=log_json, drain_s=drain_s, systemd=systemd)
    except EngineError as error:
        raise Failure(*error.args) from error


@click.command("demo", short_help="Two calls on this machine, without trunk or phones.")
@click.pass_context
def demo_command(ctx: click.Context) -> None:
    """Make two calls through a real agent on this machine, once consenting, once refusing.

    Needs no trunk, no phones and no configuration. Exit 0 only if both went as they must.

    \b
    Example:
      sipagent demo
    """
    from sipagent import demo

    ctx.exit(demo.run())


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      echo 'eval "$(sipagent completion bash)"' >> ~/.bashrc
      sipagent completion fish > ~/.config/fish/completions/sipagent.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise Failure(_("no completion for {shell}").format(shell=shell))
    click.echo(kind(ctx.find_root().command, {}, "sipagent", "_SIPAGENT_COMPLETE").source())
