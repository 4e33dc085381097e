"""The page: `web`, and `run --web`, which has it beside the agent."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sipagent.cli.base import Failure, Workplace
from sipagent.config.tables.web import WebTable

if TYPE_CHECKING:
    from sipagent.web.login.logins import Logins

NICER = 10  # behind calls, which come first
ENDS_S = 10.0  # that the page may take to end


@click.command("web", short_help="Run the page that people log in to.")
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
    refuse_without(config.web)
    from sipagent.logs import configure_log
    from sipagent.service.systemd import Systemd
    from sipagent.web.app import create_app
    from sipagent.web.login.logins import Logins
    from sipagent.web.serving.server import serve
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


def refuse_without(web: WebTable) -> None:
    """Raises Failure where there is no page."""
    if web.listen is None:
        raise Failure(_('web.listen is absent, so there is no page; accepted: "127.0.0.1:8443"'))


@contextmanager
def beside(file: Path, *, log_json: bool) -> Iterator[None]:
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
            child.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
