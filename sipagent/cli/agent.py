"""Setting up and running: `check`, `run`, `web`, `edge`, `demo`, `completion`.

`run --web` has the page beside the agent. `edge` prints Kamailio's configuration, for those who run their
own.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from sipagent.cli.program import FOLDER, Failure, Workplace, json_option, now
from sipagent.cli.terminal import show_findings
from sipagent.config import rules
from sipagent.config.tables import WebTable

if TYPE_CHECKING:
    from sipagent.check.machine import EngineFacts
    from sipagent.config.load import Config
    from sipagent.edge.plan import Plan
    from sipagent.service.control import Systemd
    from sipagent.web.logins import Logins

NICER = 10  # behind calls, which come first
PAGE_ENDS_S = 10.0  # that the page may take to end


@click.command("web")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@click.pass_obj
def web_command(work: Workplace, log_json: bool) -> None:
    """Answer at web.listen until SIGTERM or Ctrl-C. Logs to stderr. SIGHUP has it read its certificate anew.

    It is a process of its own beside `run`, and less urgent. Where there is no account yet and no network can
    reach it, it prints a code by which the first one is made.

    \b
    Example:
      sipagent --config /etc/sipagent/config.toml web --log-json
    """
    config = work.config
    refuse_without_page(config.web)
    from sipagent.logs import configure_log
    from sipagent.service.control import Systemd
    from sipagent.web.app import create_app
    from sipagent.web.logins import Logins
    from sipagent.web.serving import serve
    from sipagent.web.site import Site

    systemd = Systemd.from_environment()
    configure_log(log_json)
    with suppress(PermissionError):
        os.nice(max(0, NICER - os.nice(0)))  # a unit may have said so already
    logins = Logins(config)
    site = Site(config=config, identify=logins.identify)
    accounts, store = logins.accounts, site.store  # which say now if they cannot be opened
    by_issuer = logins.issuer is not None
    origin = config.web.origin

    def ready() -> None:
        click.echo(_("The page is at {address}").format(address=origin), err=True)
        if by_issuer:
            said = _("Logins are by {issuer}").format(issuer=config.web.oidc_issuer)
            click.echo(said, err=True)
        elif not accounts.are_there():
            _say_how_to_begin(config.web, logins)
        systemd.ready()

    with accounts, store:
        serve(config, create_app(site, logins), ready)


def _say_how_to_begin(web: WebTable, logins: "Logins") -> None:
    """A code for the first account is for who sits here: not for a network, nor for a log that is kept."""
    from retention.accounts.credentials import new_code
    from sipagent.logs import to_journal

    if web.listen and web.listen.is_loopback and not web.trusted_proxies and not to_journal():
        code = new_code()
        logins.offer_first(code)
        said = _("There is no account yet: {address}/first makes the first one, by the code {code}")
        click.echo(said.format(address=web.origin, code=code), err=True)
    else:
        said = _("There is no account yet; accepted: `sipagent user add NAME --role administrator`")
        click.echo(f"sipagent: {said}", err=True)


def refuse_without_page(web: WebTable) -> None:
    """Raises Failure where there is no page."""
    if web.listen is None:
        raise Failure(_('web.listen is absent, so there is no page; accepted: "127.0.0.1:8443"'))


@contextmanager
def page_beside(file: Path, *, log_json: bool) -> Iterator[None]:
    """Have the page run as a process of its own until the end, and no longer than this one (prctl(2)).

    It has a session of its own: Ctrl-C is for the agent, which ends it when its calls are over.
    """
    words = ["--config", str(file), "web", *(["--log-json"] if log_json else [])]
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "sipagent", *words]
    child = subprocess.Popen(command, start_new_session=True)
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(PAGE_ENDS_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@click.command("check")
@json_option
@click.pass_obj
def check_command(work: Workplace, as_json: bool) -> int:
    """Check configuration, prompts, disk, database, engine and ports. Exit 1 on an error.

    \b
    Example:
      sipagent --config /etc/sipagent/config.toml check
    """
    config = work.config
    from sipagent.check.check import checks

    return show_findings(checks(config, engine_facts, now()), as_json=as_json)


def engine_facts() -> "EngineFacts":
    """Ask the engine in a process of its own. ImportError: it is not installed; EOFError: it died."""
    from sipagent.check.machine import EngineFacts
    from sipagent.pjsip import library
    from sipagent.service.children import asked

    return EngineFacts(*asked(f"{library.__name__}:tell"))


@click.command("run")
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
def run_command(work: Workplace, /, *, log_json: bool, drain_s: float, with_page: bool) -> int:
    """Run the agent until SIGTERM or Ctrl-C. Logs to stderr.

    Where one process does not carry the calls, or a network can reach it, there are workers behind an edge.

    \b
    Example:
      sipagent --config /etc/sipagent/config.toml run --log-json
    """
    config = work.config  # what is wrong with it is said before the engine is loaded
    if not config.trunk.listen.is_loopback:
        rules.refuse_examples(config.service, config.file)
    if with_page:
        refuse_without_page(config.web)
    if (begun := config.places.restoring).exists():
        raise Failure(
            _(
                "{path}: a backup was begun to be put back here; accepted: once more `sipagent restore`"
            ).format(path=begun)
        )
    from sipagent.service import supervision
    from sipagent.service.control import Systemd

    systemd = Systemd.from_environment()  # before any process is started
    run = supervision.run if supervision.needed(config) else _in_one_process
    with page_beside(config.file, log_json=log_json) if with_page else nullcontext():
        return run(config, log_json=log_json, drain_s=drain_s, systemd=systemd)


def _in_one_process(config: "Config", *, log_json: bool, drain_s: float, systemd: "Systemd") -> int:
    from sipagent.pjsip import EngineError
    from sipagent.service import one_process
    from sipagent.service.children import end_server

    end_server()  # which may have asked an engine, and has nothing more to do
    try:
        return one_process.run(config, log_json=log_json, drain_s=drain_s, systemd=systemd)
    except EngineError as error:
        raise Failure(*error.args) from error


@click.command("demo")
def demo_command() -> int:
    """Make two calls through a real agent on this machine, once consenting, once refusing.

    Needs no trunk, no phones and no configuration. Exit 0 only if both went as they must.

    \b
    Example:
      sipagent demo
    """
    from sipagent import demo

    return demo.run()


@click.command("completion")
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


@click.command("edge")
@click.option(
    "--write",
    "directory",
    type=FOLDER,
    metavar="DIR",
    help="Write it there, with the lists that it reads, in place of printing it.",
)
@click.pass_obj
def edge_command(work: Workplace, directory: Path | None) -> None:
    """Print the configuration of the Kamailio that stands in front of the agent.

    It reads lists of workers and of sources, and keeps the dialogs in progress, in the folder `edge` beside
    the database, or in DIR. Files in DIR are replaced; its dialogs, and the key that hides addresses, stay.

    \b
    Examples:
      sipagent edge | less
      sipagent edge --write /etc/kamailio/sipagent
      kamailio -f /etc/kamailio/sipagent/kamailio.cfg
    """
    from sipagent.edge.configuration import Secrets, configuration
    from sipagent.edge.files import kept_tokens, places, write_files
    from sipagent.edge.plan import HopTokens

    plan = _plan(work)
    if directory is None:
        where = places(work.config.places.edge)
        known = Secrets(mask="made-when-written", tokens=HopTokens("0" * 32))
        click.echo(configuration(plan, known, where), nl=False)
        return
    where = places(directory)
    tokens = kept_tokens(places(work.config.places.edge))
    write_files(plan, where, active=range(plan.workers), tokens=tokens)
    for path in (where.configuration, where.workers, where.sources, where.tls, where.dialogs):
        click.echo(_("wrote {file}").format(file=path))


def _plan(work: Workplace) -> "Plan":
    """The edge's plan; the engine's legs decide how many workers there are."""
    config = work.config
    from sipagent.edge.plan import addresses, allowed_sources, plan

    return plan(config, engine_facts().limits, addresses(config, allowed_sources(config)))
