"""Colleagues lend their voices by telephone: `enrol`."""

from contextlib import ExitStack
from dataclasses import replace
from gettext import gettext as _
from gettext import ngettext
from typing import TYPE_CHECKING, Any

import click

from media.hearing.embedding import HeadError
from media.hearing.keyword import DetectorUnavailable
from media.hearing.spotter import known_heads, plain
from media.prompt import PromptError
from media.training.enrolled import EnrolledError, EnrolledPerson
from retention.records import to_text
from retention.texts import Reason, reason_of
from sipagent.cli.program import Failure, Workplace, json_option, print_json, words
from sipagent.cli.terminal import Column, console, full, show_table
from sipagent.config.errors import ConfigError
from sipagent.config.tables import folder_name
from sipagent.enrol import driver
from sipagent.enrol.driver import (
    LANGUAGES,
    Enrolments,
    EnrolScript,
    ScriptError,
    default_phrases,
    script,
)
from sipagent.enrol.keeping import expires_at, forget, voices
from sipagent.languages.spoken import shown

if TYPE_CHECKING:
    from sipagent.config.load import Config
    from sipagent.config.tables import EnrolTable
    from sipagent.edge.rpc import RejectedCall

PORT = 5080


@click.command("enrol")
@click.option("--phrase", "phrases", multiple=True, type=words, metavar="TEXT", help="What they say.")
@click.option("--speech", type=click.Choice(LANGUAGES), help="The language of it; else the service's.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=PORT,
    metavar="N",
    show_default=True,
    help="UDP, where the PBX sends the calls.",
)
@click.option(
    "--replace",
    "replaces",
    multiple=True,
    type=words,
    metavar="NAME",
    help="Let this colleague's next call replace the voice that is kept.",
)
@click.option("--list", "lists", is_flag=True, help="List who has lent a voice.")
@click.option(
    "--forget", "forgets", type=words, metavar="NAME", help="Remove a voice, and what learnt from it."
)
@json_option
@click.pass_obj
def enrol_command(
    work: Workplace,
    /,
    *,
    phrases: tuple[str, ...],
    speech: str | None,
    port: int,
    replaces: tuple[str, ...],
    lists: bool,
    forgets: str | None,
    as_json: bool,
) -> None:
    """Take the calls of colleagues who lend their voices, until Ctrl-C.

    Only those in enrol.colleagues may call, only enrol.extension, and only from the addresses in
    operators.extensions. They hear what is kept, why and for how long; key 1 consents. They say each phrase
    five times, then a few sentences, and are kept whole or not at all. A voice that is kept is replaced only
    with --replace. The phrases are those of refusal.keywords, or of --phrase. It runs beside the service.

    \b
    Examples:
      sipagent enrol --phrase "je refuse" --port 5080
      sipagent enrol --replace "Ann Martin"
      sipagent enrol --list
      sipagent enrol --forget "Ann Martin"
    """
    if lists and forgets is not None:
        raise click.UsageError(_("--list: not with --forget"))
    if as_json and not lists:
        raise click.UsageError(_("--json: only with --list"))
    if (phrases or speech or replaces) and (lists or forgets is not None):
        raise click.UsageError(_("--phrase, --speech, --replace: not with --list or --forget"))
    if lists:
        _list(work, as_json)
    elif forgets is not None:
        _forget(work, forgets)
    else:
        _take_calls(work, phrases, speech, port, replaces)


# --- list, forget ---


def _list(work: Workplace, as_json: bool) -> None:
    config = work.config
    rows = list(voices(config.voices))
    people = [
        replace(person, expires_at=expires_at(place, person, config.voices_days))
        for place, person in rows
        if isinstance(person, EnrolledPerson)
    ]
    if as_json:
        print_json([_json(person) for person in people])
    elif not people:
        click.echo(_("Nobody has lent a voice."))
    else:
        columns: list[Column[EnrolledPerson]] = [
            Column("name", lambda one: one.name, shrinks=True),
            Column("number", lambda one: one.number),
            Column("language", lambda one: one.language),
            Column("phrases", lambda one: ", ".join(_phrases(one)), wraps=True),
            Column("sayings", lambda one: str(len(one.sayings)), right=True),
            Column("consented", lambda one: full(work.local(one.consented_at))),
            Column("kept until", lambda one: full(work.local(one.expires_at))),
        ]
        show_table(people, columns, console())
    wrong = [one for _place, one in rows if isinstance(one, EnrolledError)]
    if wrong:
        raise wrong[0]


def _phrases(person: EnrolledPerson) -> list[str]:
    return list(dict.fromkeys(one.phrase for one in person.sayings if one.phrase is not None))


def _json(person: EnrolledPerson) -> dict[str, Any]:
    return {
        "name": person.name,
        "number": person.number,
        "language": person.language,
        "phrases": _phrases(person),
        "sayings": len(person.sayings),
        "consented_at": to_text(person.consented_at),
        "expires_at": to_text(person.expires_at),
        "folder": str(person.folder),
    }


def _forget(work: Workplace, name: str) -> None:
    config = work.config
    before = _heard(config)
    try:
        gone = forget(config.voices, config.refusal.heads, name)
    except HeadError as wrong:
        said = _("{wrong}: whether it learnt from {name} cannot be told; accepted: remove it")
        raise Failure(said.format(wrong=wrong, name=name)) from wrong
    if not (gone.sound or gone.heads):
        raise Failure(_("{name}: has lent no voice").format(name=name))
    work.tell_followed()
    heads = len(gone.heads)
    said = ngettext(
        "{name}: the voice is removed, and {n} head that had learnt from it.",
        "{name}: the voice is removed, and {n} heads that had learnt from it.",
        heads,
    )
    click.echo(said.format(name=name, n=heads))
    for keyword in sorted(before - _heard(config)):
        lost = _("refusal.keywords: no head hears {keyword!r} any more: see `sipagent train-keyword`")
        click.echo(f"sipagent: {lost.format(keyword=keyword)}", err=True)


def _heard(config: "Config") -> set[str]:
    """The configured phrases that some head knows; none where that can't be told, as `forget` will say."""
    try:
        heads = [*known_heads(), *known_heads(config.refusal.heads)]
    except DetectorUnavailable:
        return set()
    known = {plain(phrase) for head in heads for phrase in head.phrases}
    configured = (*config.refusal.keywords, *config.refusal.in_call_keywords)
    return {keyword for keyword in configured if plain(keyword) in known}


# --- calls ---


def _take_calls(
    work: Workplace, phrases: tuple[str, ...], speech: str | None, port: int, replaces: tuple[str, ...]
) -> None:
    config = work.config
    table = _table(config)
    asked = _script(config, table, phrases, speech)
    may_replace = frozenset(_colleague(table, name) for name in replaces)
    from sipagent.edge.process import EdgeProcess
    from sipagent.edge.rpc import EdgeError
    from sipagent.logs import configure_log
    from sipagent.pjsip import EngineError, PjsipEngine
    from sipagent.service.children import own_folder
    from sipagent.service.control import Orders, heed

    configure_log(as_json=False)
    found, doubts = driver.callers(config)
    for doubt in doubts:
        _failed(doubt)
    orders = Orders(drain_s=0.0)
    heed(orders)
    enrolments = Enrolments(
        config, asked, may_replace, kept=lambda who: _kept(work, who), declined=_declined, failed=_failed
    )
    front = None
    with ExitStack() as stack:
        try:
            if not config.trunk.listen.is_loopback:
                front = EdgeProcess(driver.plan(config, port, found), own_folder("enrol"), _edge_said)
                stack.callback(front.stop)
                front.start()
            engine = PjsipEngine(driver.engine_settings(config, enrolments, port, found, front))
            stack.callback(engine.stop)
            engine.start()
            if front:
                front.rpc.activate(0)
        except (EdgeError, EngineError, OSError) as wrong:
            raise Failure(str(wrong)) from wrong
        told = _("Colleagues can call {extension} now, by UDP port {port}. Ctrl-C ends it.")
        click.echo(told.format(extension=table.extension, port=port))
        enrolments.run(engine, lambda: orders.ending_at is not None or (front and not front.running) or False)
        if front and not front.running:
            raise Failure(_("Kamailio has ended, and no call can come any more"))


def _colleague(table: "EnrolTable", name: str) -> str:
    """Who is meant, as on disk."""
    known = {folder_name(one) for one in table.colleagues.values()}
    if (voice := folder_name(name)) not in known:
        said = _("--replace: {name!r} is not in enrol.colleagues; accepted: {names}")
        names = ", ".join(sorted({*table.colleagues.values()}))
        raise click.UsageError(said.format(name=name, names=names))
    return voice


def _table(config: "Config") -> "EnrolTable":
    if config.enrol is None:
        said = _("{file}: enrol: absent; accepted: a table with extension and colleagues")
        raise click.UsageError(said.format(file=config.file))
    return config.enrol


def _script(
    config: "Config", table: "EnrolTable", phrases: tuple[str, ...], speech: str | None
) -> EnrolScript:
    language = speech or config.service.language
    if language not in LANGUAGES:
        said = _("no prompts in {code!r}; accepted: --speech {languages}")
        raise click.UsageError(said.format(code=language, languages="|".join(LANGUAGES)))
    chosen = tuple(dict.fromkeys(phrases)) or default_phrases(config.refusal.keywords, language)
    try:
        return script(chosen, language, table.prompts)
    except ScriptError as wrong:
        raise click.UsageError(shown(wrong)) from wrong
    except PromptError as wrong:
        problem = Reason("{0}: {1}", wrong.path, wrong.problem)
        raise ConfigError(config.file, "enrol.prompts", problem, reason_of(wrong.accepted)) from wrong


def _kept(work: Workplace, person: EnrolledPerson) -> None:
    said = _("{name}: {n} sayings are kept until {day}.")
    day = full(work.local(person.expires_at))
    click.echo(said.format(name=person.name, n=len(person.sayings), day=day))


def _declined(name: str) -> None:
    said = _("{name}: called, and a voice is kept already; accepted: --replace {name!r}, or --forget first")
    _failed(said.format(name=name))


def _edge_said(said: "RejectedCall | str") -> None:
    """On Kamailio's threads: what it logs while it starts, and the calls that it refuses."""
    if isinstance(said, str):
        _failed(said)
    else:
        why = _("a call was refused with {status}: {why}")
        _failed(why.format(status=said.status, why=said.why))


def _failed(reason: str) -> None:
    click.echo(f"sipagent: {shown(reason)}", err=True)
