"""Colleagues lend their voices by telephone: `enrol`."""

from collections.abc import Iterator
from dataclasses import replace
from gettext import gettext as _
from gettext import ngettext
from typing import TYPE_CHECKING, Any

import click

from media.hearing.head import HeadError
from media.hearing.spotter import known_heads, plain
from media.prompt import PromptError
from media.training.enrolled import EnrolledError, Person
from retention.recording import to_text
from sipagent.cli.base import Failure, Workplace, json_option, print_json, words
from sipagent.cli.tables import Column, console, show_table
from sipagent.cli.times import full
from sipagent.config.errors import ConfigError
from sipagent.enrol.keeping import expires_at, forget, voices
from sipagent.enrol.script import LANGUAGES, Script, ScriptError, default_phrases, script
from sipagent.languages.reason import shown

if TYPE_CHECKING:
    from sipagent.agent.engine import EngineSettings
    from sipagent.config.load import Config
    from sipagent.config.tables.enrol import EnrolTable
    from sipagent.enrol.driver import Enrolments

PORT = 5080
RTP_PORTS = 16  # of the end of trunk.rtp_ports: the service takes them from the beginning


@click.command("enrol", short_help="Colleagues lend their voices by telephone.")
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
    lists: bool,
    forgets: str | None,
    as_json: bool,
) -> None:
    """Take the calls of colleagues who lend their voices, until Ctrl-C.

    Only those in enrol.colleagues may call, and only enrol.extension. They hear what is kept, why and for how
    long; key 1 consents. They say each phrase five times, then a few sentences, and are kept whole or not at
    all. The phrases are those of refusal.keywords, or of --phrase. It runs beside the service.

    \b
    Examples:
      sipagent enrol --phrase "je refuse" --port 5080
      sipagent enrol --list
      sipagent enrol --forget "Ann Martin"
    """
    if lists and forgets is not None:
        raise click.UsageError(_("--list: not with --forget"))
    if as_json and not lists:
        raise click.UsageError(_("--json: only with --list"))
    if (phrases or speech) and (lists or forgets is not None):
        raise click.UsageError(_("--phrase, --speech: not with --list or --forget"))
    if lists:
        _list(work, as_json)
    elif forgets is not None:
        _forget(work, forgets)
    else:
        _take_calls(work, phrases, speech, port)


# --- list, forget ---


def _list(work: Workplace, as_json: bool) -> None:
    config = work.config
    rows = list(voices(config.voices))
    people = [
        replace(person, expires_at=expires_at(place, person, config.voices_days))
        for place, person in rows
        if isinstance(person, Person)
    ]
    if as_json:
        print_json([_json(person) for person in people])
    elif not people:
        click.echo(_("Nobody has lent a voice."))
    else:
        columns: list[Column[Person]] = [
            Column("name", lambda one: one.name, shrinks=True),
            Column("number", lambda one: one.number),
            Column("language", lambda one: one.language),
            Column("phrases", lambda one: ", ".join(_phrases(one)), wraps=True),
            Column("sayings", lambda one: str(len(one.sayings)), right=True),
            Column("consented", lambda one: full(work.local(one.consented_at))),
            Column("kept until", lambda one: full(work.local(one.expires_at))),
        ]
        show_table(people, columns, console())
    wrong = [str(one) for _place, one in rows if isinstance(one, EnrolledError)]
    if wrong:
        raise Failure(wrong[0])


def _phrases(person: Person) -> list[str]:
    return list(dict.fromkeys(one.phrase for one in person.sayings if one.phrase is not None))


def _json(person: Person) -> dict[str, Any]:
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
    """The configured phrases that some head knows."""
    known = {plain(phrase) for head in _heads(config) for phrase in head}
    configured = (*config.refusal.keywords, *config.refusal.in_call_keywords)
    return {keyword for keyword in configured if plain(keyword) in known}


def _heads(config: "Config") -> Iterator[tuple[str, ...]]:
    from media.hearing.keyword import DetectorUnavailable

    try:
        yield from (head.phrases for head in (*known_heads(), *known_heads(config.refusal.heads)))
    except DetectorUnavailable:
        return  # `forget` tells of it


# --- calls ---


def _take_calls(work: Workplace, phrases: tuple[str, ...], speech: str | None, port: int) -> None:
    config = work.config
    table = _table(config)
    asked = _script(config, table, phrases, speech)
    from sipagent.enrol.driver import Enrolments, Terms
    from sipagent.logs import configure_log
    from sipagent.pjsip import EngineError, PjsipEngine
    from sipagent.service.orders import Orders, heed

    configure_log(as_json=False)
    orders = Orders(drain_s=0.0)
    heed(orders)
    terms = Terms(
        extension=table.extension,
        colleagues=table.colleagues,
        folder=table.folder,
        keep_days=table.keep_days,
        country=config.service.country,
    )
    enrolments = Enrolments(terms, asked, kept=lambda who: _kept(work, who), failed=_failed)
    engine = PjsipEngine(engine_settings(config, table, enrolments, port))
    try:
        engine.start()
        told = _("Colleagues can call {extension} now, by UDP port {port}. Ctrl-C ends it.")
        click.echo(told.format(extension=table.extension, port=port))
        enrolments.run(engine, lambda: orders.ending_at is not None)
    except EngineError as wrong:
        raise Failure(*wrong.args) from wrong
    finally:
        engine.stop()


def _table(config: "Config") -> "EnrolTable":
    if config.enrol is None:
        said = _("{file}: enrol: absent; accepted: a table with extension and colleagues")
        raise click.UsageError(said.format(file=config.file))
    return config.enrol


def _script(config: "Config", table: "EnrolTable", phrases: tuple[str, ...], speech: str | None) -> Script:
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
        raise ConfigError(
            config.file, "enrol.prompts", f"{wrong.path}: {wrong.problem}", wrong.accepted
        ) from wrong


def engine_settings(
    config: "Config", table: "EnrolTable", enrolments: "Enrolments", port: int
) -> "EngineSettings":
    """An engine of its own, for the PBX of the operators and for whom else calls come from."""
    from sipagent.agent.admission import allowed_sources
    from sipagent.agent.engine import EngineSettings
    from sipagent.config.types import HostPort
    from sipagent.edge.addresses import addresses

    trunk = config.trunk
    found = addresses(config, allowed_sources(config))
    host = found.own if trunk.listen.is_any else trunk.listen.host
    last = trunk.rtp_ports.last
    return EngineSettings(
        report=enrolments.post,
        audio=enrolments.hear,
        listen=(trunk.listen.host, port),
        uri=f"sip:{table.extension}@{HostPort(host, port)}",
        public_address=trunk.public_address or "",
        rtp_ports=(max(trunk.rtp_ports.first, last + 1 - RTP_PORTS), last),
        calls=1,
        codecs=trunk.codecs,
        srtp=trunk.srtp,
        callers=(*found.operators, *found.trunk),
    )


def _kept(work: Workplace, person: Person) -> None:
    said = _("{name}: {n} sayings are kept until {day}.")
    day = full(work.local(person.expires_at))
    click.echo(said.format(name=person.name, n=len(person.sayings), day=day))


def _failed(reason: str) -> None:
    click.echo(f"sipagent: {shown(reason)}", err=True)
