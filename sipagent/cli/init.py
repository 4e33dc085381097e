"""`init`: write a configuration, by questions, by a file of answers, or with the examples.

At a terminal all is asked on one screen. Each answer is checked at once by the rules of the configuration,
with all that was answered before. At last all answers are shown, and each can be changed; then it is written.
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import Any

import click

from sipagent.cli.init_directory import (
    LANGUAGES,
    PAIR,
    PASSWORD_FILE,
    SHARE,
    TEMPLATE,
    Answers,
    Place,
    init,
    key_problem,
    no_answers,
    over,
    password_problem,
    place_of,
    read_answers,
    refuse_what_exists,
    settled,
    shipped_tables,
)
from sipagent.cli.options import (
    ask_for_new_passphrase,
    given_passphrase,
    key_advice,
    new_passphrase_options,
)
from sipagent.cli.program import FILE, FOLDER, SERVICE
from sipagent.config import rules
from sipagent.config.errors import ConfigError
from sipagent.config.identity import to_e164
from sipagent.config.load import checked
from sipagent.languages.labels import N_
from sipagent.languages.spoken import colon, shown

SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)


@click.command("init")
@click.argument("directory", default=".", type=FOLDER, metavar="[DIR]")
@click.option(
    "--answers",
    type=FILE,
    metavar="FILE",
    help="Ask nothing: a TOML file with the keys of config.toml, - for stdin.",
)
@new_passphrase_options
def init_command(
    directory: Path, answers: Path | None, passphrase_file: Path | None, no_passphrase: bool
) -> None:
    """Write a commented config.toml, make a key pair and copy the prompts into DIR (default: here).

    At a terminal you are asked what nobody can guess. A file of answers has it under the names of
    config.toml; beside them trunk.password, recording.new_key and recording.passphrase_file. Without both the
    examples are written. Replaces nothing.

    Recordings will be sealed to public keys; the private key is for the people who listen.

    \b
    Examples:
      sipagent init /etc/sipagent
      sipagent init --answers answers.toml /etc/sipagent
    """
    place, private = place_of(directory), directory / f"{PAIR}.key"
    refuse_what_exists(directory)
    passphrase = given_passphrase(passphrase_file, no_passphrase)
    if answers is not None:
        told = read_answers(answers, place, passphrase, no_passphrase=no_passphrase)
    elif sys.stdin.isatty():
        told = ask(place, passphrase, no_passphrase=no_passphrase)
    else:
        told = no_answers(place, passphrase)
        if not (passphrase or no_passphrase):
            said = _("no terminal to ask for a passphrase at, so {path} has none: whoever gets it can listen")
            click.echo(f"sipagent: {said.format(path=private)}", err=True)
    for path in init(place, told):
        click.echo(_("wrote {path}").format(path=path))
    _say_what_is_left(place, told, private)


def _say_what_is_left(place: Place, told: Answers, private: Path) -> None:
    """What to do next; the most important thing last."""
    config = place.folder / TEMPLATE
    share = told.tables["recording"]["share"]
    if share < 1:
        said = _(
            "recording.share is {share}: so many of the calls are drawn to be recorded, the others hear "
            "`welcome` and no notice. To try it, set 1.0 for as long as you do."
        )
        click.echo(said.format(share=f"{share:g}"))
    click.echo(_("A refusal that is spoken is heard, too; the shipped notice promises the key alone."))
    click.echo(next_steps(place, config))
    if told.new_key:
        click.secho(key_advice(private), bold=True)
    if not told.tables["service"].keys() & rules.SHIPPED_EXAMPLES.keys():
        keys = ", ".join(f"service.{key}" for key in rules.SHIPPED_EXAMPLES)
        said = _("{path}: {keys} are examples: replace them before a network can call.")
        click.secho(said.format(path=config, keys=keys), bold=True)


def next_steps(place: Place, config: Path) -> str:
    """The commands that come next; in an installation as the user of the service."""
    first, second = f"sipagent --config {config} check", f"sipagent --config {config} run"
    if place.state:
        ours = f"runuser -u {SERVICE} -- " if place.service else ""
        first, second = f"{ours}sipagent check", f"{ours}sipagent run"
        if SYSTEMD.is_dir():
            second = f"systemctl enable --now {SERVICE}"
    return _("Next: {first}, then {second}").format(first=first, second=second)


_Tables = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """`key`: of config.toml, or of `init` alone. `words` say what an answer looks like. `default`: what Enter
    gives, of all that was answered before; None where something must be typed. `read`: a typed text as a
    value. `follows`: the answer that this one depends on, and is asked for again after. `wrong`: what is
    wrong with the text, where the rules of the configuration do not say."""

    key: str
    words: str
    default: Callable[[_Tables], str] | None = None
    read: Callable[[str], Any] = str.strip
    wanted: Callable[[_Tables], bool] = lambda answered: True
    before: str = ""  # a line above it
    follows: str = ""
    wrong: Callable[[str], str] | None = None
    hidden: bool = False

    @property
    def name(self) -> str:
        """What is asked for, without how it may look."""
        return re.split(r"[,;(:]", _(self.words))[0].strip()

    def told(self, typed: str) -> str:
        """An answer in the summary; of none what is said of Enter."""
        return "••••" if self.hidden else typed.strip() or _(self.words).rpartition(colon())[2]


def _listed(typed: str) -> list[str]:
    return [one for one in re.split(r",\s*|\s+", typed.strip()) if one]


def _phones(typed: str) -> list[str]:
    """`202` behind `sip:201@192.168.1.2` is `sip:202@192.168.1.2`."""
    found = [""]
    for one in _listed(typed):
        before = re.fullmatch(r"(sips?:)[^@]+(@.+)", found[-1])
        is_short = before and re.fullmatch(r"[\w.+-]+", one, re.ASCII)
        found.append(f"{before[1]}{one}{before[2]}" if before and is_short else one)
    return found[1:]


def _numbers(typed: str) -> list[str]:
    """As people write them: with spaces, and without the country."""
    listed = [one.strip() for one in typed.split(",") if one.strip()]
    return [to_e164(one, "FR") or one for one in listed]


def _paths(typed: str) -> tuple[Path, ...]:
    return tuple(Path(one).expanduser() for one in typed.split())


def _number(typed: str) -> float | str:
    try:
        value = float(typed.strip().replace(",", "."))
    except ValueError:
        return typed  # which the rules refuse
    return int(value) if value.is_integer() else value


def _registers(answered: _Tables) -> bool:
    return bool(answered["trunk"]["registrar"])


def _suggested(table: str, key: str) -> Callable[[_Tables], str]:
    """What would be written without an answer."""
    return lambda answered: str(settled(answered, Place(folder=Path()))[table][key])


REGISTRAR = "trunk.registrar"
QUESTIONS = (
    Question("service.language", N_("Language of the prompts, fr or en"), lambda answered: "fr"),
    Question("service.name", N_("Name of the service, as callers hear it, such as Allô Mairie")),
    Question(
        "service.controller", N_("Who is responsible for recordings (GDPR), such as Commune de Saint-Quentin")
    ),
    Question("service.controller_contact", N_("How to reach them: an address, a telephone number")),
    Question("service.dpo_contact", N_("How to reach the data protection officer")),
    Question("service.legal_basis", N_("Legal basis"), _suggested("service", "legal_basis")),
    Question(
        REGISTRAR,
        N_("Registrar of the trunk, such as sip:trunk.example.net; Enter: a trunk without registration"),
        lambda answered: "",
    ),
    Question("trunk.username", N_("User name there"), wanted=_registers, follows=REGISTRAR),
    Question(
        "trunk.password",
        N_("Password there"),
        wanted=_registers,
        follows=REGISTRAR,
        wrong=password_problem,
        hidden=True,
    ),
    Question(
        "trunk.allowed_sources",
        N_("Addresses that the trunk calls from, such as 192.0.2.10 or 192.0.2.0/24"),
        read=_listed,
        wanted=lambda answered: not _registers(answered),
        follows=REGISTRAR,
    ),
    Question(
        "trunk.listen",
        N_("Our address and port for SIP"),
        _suggested("trunk", "listen"),
        follows=REGISTRAR,
    ),
    Question("trunk.uri", N_("Who we are on the trunk"), _suggested("trunk", "uri"), follows=REGISTRAR),
    Question(
        "trunk.numbers",
        N_("Numbers of the service, such as 03 23 06 30 06, +33323063007; Enter: any"),
        lambda answered: "",
        read=_numbers,
    ),
    Question(
        "operators.extensions",
        N_("Operators' phones, in the order of ringing, such as sip:201@192.168.1.2, 202, 203"),
        read=_phones,
    ),
    Question(
        "capacity.calls",
        N_("Calls at the same time, with those that wait for an operator"),
        _suggested("capacity", "calls"),
        read=_number,
    ),
    Question(
        "recording.share",
        N_("Share of the calls to be recorded, drawn by lot, 0 to 1"),
        lambda answered: f"{SHARE}",
        read=_number,
        before=N_("The regulator accepts no systematic recording (CNIL, 2014-474); 1 needs a justification."),
    ),
    Question(
        "recording.justification",
        N_("Why all calls have to be recorded"),
        wanted=lambda answered: answered["recording"]["share"] >= 1,
    ),
    Question(
        "recording.recipients",
        N_("Public keys of who may listen, such as /media/usb/durand.pub; Enter: make a pair now"),
        lambda answered: "",
        wrong=lambda typed: next(filter(None, map(key_problem, _paths(typed))), ""),
    ),
)


def ask(place: Place, passphrase: str | None, *, no_passphrase: bool) -> Answers:
    """Ask everything, then show it all, and ask again what is wanted otherwise. Raises click.Abort for
    Ctrl-C."""
    click.echo(
        _("Enter takes what stands in [brackets]; Ctrl-C ends this, and nothing is written."), err=True
    )
    answered: _Tables = {name: {} for name in ("service", "trunk", "operators", "capacity", "recording")}
    typed: dict[str, str] = {}
    again: Question | None = None
    while True:
        for question in QUESTIONS:
            if not question.wanted(answered):
                _forget(question.key, answered, typed)
            elif question is again or question.key not in typed:
                typed[question.key] = _ask(question, answered, typed.get(question.key))
                if question.key == REGISTRAR and _registers(answered):
                    answered["trunk"]["password_file"] = PASSWORD_FILE
        recipients = _paths(typed["recording.recipients"])
        if not recipients and passphrase is None and not no_passphrase:
            passphrase = ask_for_new_passphrase(place.folder / f"{PAIR}.key")
        if (again := _otherwise(typed)) is None:
            break
        for question in QUESTIONS:
            if question.follows == again.key:
                _forget(question.key, answered, typed)
        if again.key == REGISTRAR:
            answered["trunk"].pop("password_file", None)
    if not answered["trunk"]["registrar"]:
        del answered["trunk"]["registrar"]
    return Answers(
        tables=settled(answered, place),
        password=typed.get("trunk.password"),
        recipients=recipients,
        new_key=not recipients,
        passphrase=None if recipients else passphrase,
    )


def _otherwise(typed: Mapping[str, str]) -> Question | None:
    """Show all that was answered; the question to ask once more, None to go on."""
    asked = [question for question in QUESTIONS if question.key in typed]
    click.echo(err=True)
    for number, question in enumerate(asked, 1):
        click.echo(f"{number:>3}  {question.name}{colon()}{question.told(typed[question.key])}", err=True)

    def problem(choice: str) -> str:
        if not choice or (choice.isdecimal() and 1 <= int(choice) <= len(asked)):
            return ""
        return _("'{choice}' is no number of these; accepted: 1 to {n}").format(choice=choice, n=len(asked))

    choice = _until(_("A number to change that answer; Enter: write all this"), problem, "")
    return asked[int(choice) - 1] if choice else None


def _ask(question: Question, answered: _Tables, before: str | None) -> str:
    """Put one more answer to those that there are; as it was typed. `before`: what was typed first."""
    table, key = question.key.split(".")
    if question.before:
        click.echo(_(question.before), err=True)

    def problem(typed: str) -> str:
        if question.wrong is not None:
            return question.wrong(typed)
        answered[table][key] = question.read(typed)
        if question.default is None and not answered[table][key]:
            return _("something is needed here")
        return _problem(question.key, answered)

    default = question.default(answered) if question.default else None
    if before is not None and not question.hidden:
        default = before
    return _until(_(question.words), problem, default, hidden=question.hidden)


def _forget(key: str, answered: _Tables, typed: dict[str, str]) -> None:
    """An answer that is not asked for, or will be asked for once more."""
    table, name = key.split(".")
    answered[table].pop(name, None)
    typed.pop(key, None)


def _problem(key: str, answered: _Tables) -> str:
    """What the newest answer, of this key, makes wrong; empty if nothing."""
    table, name = key.split(".")
    value = answered[table][name]
    if key == "service.language" and value not in LANGUAGES:
        wrong = _("'{language}' has no shipped prompts; accepted: {languages}")
        return wrong.format(language=value, languages=", ".join(LANGUAGES))
    if table == "service" and rules.example_left_in_place(name, value):
        return _("'{value}' is an example; accepted: yours").format(value=value)
    try:
        checked(over(shipped_tables(), answered), Path(TEMPLATE))
    except ConfigError as error:
        where = "" if error.key.startswith(key) else f"{error.key}: "
        ways = _("; accepted: {accepted}").format(accepted=shown(error.accepted)) if error.accepted else ""
        return f"{where}{shown(error.problem)}{ways}"
    return ""


def _until(
    words: str, problem: Callable[[str], str], default: str | None = None, *, hidden: bool = False
) -> str:
    """Ask until nothing is wrong with the answer."""
    while True:
        typed: str = click.prompt(
            words,
            default=default,
            show_default=bool(default),
            hide_input=hidden,
            prompt_suffix=colon(),
            err=True,
        )
        if not (wrong := problem(typed)):
            return typed
        click.echo(f"  {shown(wrong)}", err=True)
