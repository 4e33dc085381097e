"""`sipagent check`: all that can be known of a call before there is one.

`checks` gives findings and prints nothing. It changes nothing, except that opening a database of an older
version brings it up to date. `config` has the rules that config.toml must fulfil to load; this module
finds what loads but still needs a look, such as whether calls can be drawn for recording, and draws
repeated.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from retention.post import Fence
from retention.texts import Reason, strerror
from sipagent.agent.stored import is_there
from sipagent.check import machine
from sipagent.check.hosts import host_findings, object_findings, shared_findings
from sipagent.check.keys import key_findings, readable
from sipagent.check.notice import prompt_findings
from sipagent.check.retention import lent_voice_findings, moved_findings, stamp_findings
from sipagent.config import rules
from sipagent.config.errors import Finding, counted, error, ok, warning
from sipagent.config.load import Config, ConfigError, Login, uri_host, uri_user
from sipagent.config.sampling import SeedError, Window, read_seed
from sipagent.config.types import outlasts
from sipagent.edge.plan import looked_up, pbx_hosts
from sipagent.voice.detectors import voice_findings


def sampling_findings(config: Config) -> Iterator[Finding]:
    """Look at the seed, which is made at the first start, and for windows in which no one can call."""
    yield from _seed(config)
    week = config.hours and config.hours.week
    for number, window in enumerate(config.shares().windows):
        if week and not any(window.overlaps(Window((day,), hours, 1.0)) for day, hours in enumerate(week)):
            yield warning(f"recording.window[{number}]", "without effect: never within hours.week")


def _seed(config: Config) -> Iterator[Finding]:
    path = config.places.seed
    try:
        seed, mode = read_seed(path), path.stat().st_mode & 0o777
    except FileNotFoundError:
        if is_there(config):
            lost = Reason("draws so far can no longer be repeated, unless a copy is put back")
            yield warning("seed", "{0} is missing: made anew at the next start; {1}", path, lost)
        return
    except SeedError as problem:
        yield error("seed", "{0}; no call is drawn where recording.share is below 1", problem)
    except OSError as problem:
        yield error(
            "seed", "{0}: {1}; no call is drawn where recording.share is below 1", path, strerror(problem)
        )
    else:
        if mode & 0o077:
            told = Reason("who reads it knows beforehand who is drawn")
            yield error("seed", "others may read {0} (mode {1:04o}): {2}; chmod 0600", path, mode, told)
        else:
            yield ok("seed", "{0}: {1}", path, seed.name)


_CONSENT = re.compile(r"\bconsent|\b6\s*\(1\)\s*\(?a\)", re.IGNORECASE)


def checks(config: Config, engine_facts: Callable[[], machine.EngineFacts], now: datetime) -> list[Finding]:
    """Check everything. `now` is aware; `engine_facts` loads the engine, or raises ImportError."""
    in_force, voice = voice_findings(config)
    return [
        machine.python_finding(),
        machine.priority_finding(),
        *configuration_findings(config),
        *password_findings(config),
        *page_findings(config),
        *event_findings(config),
        *prompt_findings(in_force),
        *voice,
        *lent_voice_findings(config, now),
        *shared_findings(config),
        *machine.disk_findings(config, now),
        *host_findings(config),
        *moved_findings(config.places, now),
        *key_findings(config),
        *sampling_findings(config),
        *stamp_findings(config, now),
        *object_findings(config, now),
        *machine.engine_findings(config, engine_facts, now),
        *machine.port_findings(config),
    ]


def configuration_findings(config: Config) -> Iterator[Finding]:
    """Look for settings that are allowed but may be mistakes."""
    yield ok("configuration", str(config.file))
    yield from _service(config)
    yield from _network(config)
    yield from _recording(config)
    yield from _without_effect(config)


def _service(config: Config) -> Iterator[Finding]:
    for key in ("controller_contact", "dpo_contact", "legal_basis"):
        if not any(sign.isalnum() for sign in getattr(config.service, key)):
            yield warning(f"service.{key}", "empty; callers have a right to it (GDPR article 13(1))")
    reached = error if not config.trunk.listen.is_loopback else warning
    for key, value in rules.examples_left(config.service).items():
        yield reached(f"service.{key}", rules.example_told(value))
    if config.refusal.mode == "objection" and _CONSENT.search(config.service.legal_basis):
        yield warning(
            "service.legal_basis",
            'names consent, which silence is not (GDPR article 4(11)): accepted with refusal.mode = "opt_in"',
        )
    if config.hours is None:
        yield warning("hours", "absent: open day and night")
    elif config.hours.week is None:
        yield warning("hours.week", "absent: open day and night but for holidays and closures")


def _network(config: Config) -> Iterator[Finding]:
    trunk = config.trunk
    metrics = config.metrics.listen
    if metrics and not metrics.is_loopback:
        yield warning("metrics.listen", "{0}: whoever reaches it reads the figures, without a login", metrics)
    for source in trunk.allowed_sources:
        if source.prefixlen == 0:
            yield warning("trunk.allowed_sources", "{0}: anybody may call", source)
        elif source.prefixlen < source.max_prefixlen and not trunk.listen.is_loopback:
            yield warning(
                "trunk.allowed_sources",
                "{0}: whoever is in it may call, in any name: give the trunk's own addresses, if "
                "they are known",
                source,
            )
    if not trunk.numbers:
        yield warning("trunk.numbers", "empty: any number that is dialled is taken for ours")
    if trunk.registrar and not trunk.username:
        yield warning("trunk.username", "absent: hardly any registrar takes who shows no password")
    yield from _keys_in_clear(config)
    yield from _other_family(config)
    own = uri_user(trunk.uri), uri_host(trunk.uri)[0]
    for uri in config.operators.extensions:
        host, port = uri_host(uri)
        if (host, port or 5060) == trunk.listen:
            yield error("operators.extensions", "{0} is the agent itself", uri)
        elif (uri_user(uri), host) == own:
            yield error("operators.extensions", "{0} is the trunk's account: the call would come back", uri)


def _keys_in_clear(config: Config) -> Iterator[Finding]:
    """Of SRTP: they stand in SDP."""
    trunk, own = config.trunk, config.operators.srtp
    if trunk.srtp != "off" and trunk.transport != "tls":
        yield warning(
            "trunk.srtp",
            "{0}, but its keys go in clear with trunk.transport {1} (RFC 4568 section 7)",
            trunk.srtp,
            trunk.transport,
        )
    if own not in (None, "off") and not config.operators_by_tls:
        yield warning(
            "operators.srtp", "{0}, but its keys go in clear: not every phone is called by TLS", own
        )


def _other_family(config: Config) -> Iterator[Finding]:
    """Who speaks a version of IP that nothing here listens on."""
    trunk = config.trunk
    spoken = {6 if ":" in trunk.listen.host else 4, 6 if trunk.listen_ipv6 else None}
    for key in ("allowed_sources", "media_sources"):
        for source in getattr(trunk, key):
            if source.version not in spoken:
                yield warning(f"trunk.{key}", "{0}: nothing listens on IPv{1} here", source, source.version)
    for uri in config.operators.extensions:
        if ":" in uri_host(uri)[0] and 6 not in spoken:
            yield error("operators.extensions", "{0}: nothing listens on IPv{1} here", uri, 6)


def _recording(config: Config) -> Iterator[Finding]:
    recording, retention = config.recording, config.retention
    if not recording.enabled:
        yield warning("recording.enabled", "false: nothing is recorded")
    elif config.shares().highest == 0:
        yield warning("recording.share", "{0}: nothing is recorded", recording.share)
    elif (recording.share == 1 or config.shares().lowest == 1) and not (
        recording.justification.strip() or config.shares().begins == {True}
    ):
        where = (
            Reason("every call outside [[recording.window]]") if recording.window else Reason("every call")
        )
        yield warning(
            "recording.share",
            "{0}: {1}; say why in recording.justification (GDPR article 5(1)(c))",
            recording.share,
            where,
        )
    if recording.enabled and True in config.shares().begins:
        yield ok(
            "recording.begin", "operator: nothing is kept before {0} is typed", config.operators.record_code
        )
    if not recording.recipients:
        yield warning("recording.recipients", "empty: recordings are stored in clear")
    if outlasts(retention.analysis_period, months=12, days=365):
        yield warning(
            "retention.analysis_period",
            "{0}: longer than a year (CNIL, deliberation 2014-474)",
            retention.analysis_period,
        )


def _without_effect(config: Config) -> Iterator[Finding]:
    """Name the keys that are written but not used."""
    refusal = config.refusal
    written = refusal.model_fields_set
    for words, key, value in (
        ("keywords", "engine", "none"),
        ("accept_keywords", "mode", "objection"),
        ("in_call_keywords", "in_call", "key"),
    ):
        if words in written and refusal.engine == "none":
            yield warning(f"refusal.{words}", 'without effect while refusal.engine is "none"')
        elif words in written and getattr(refusal, key) == value:
            yield warning(f"refusal.{words}", 'without effect while refusal.{0} is "{1}"', key, value)
    for key, engine in (("vosk_model", "vosk"), ("second", "embedding")):
        if getattr(refusal, key) and refusal.engine != engine:
            yield warning(f"refusal.{key}", 'without effect while refusal.engine is not "{0}"', engine)
    if refusal.in_call == "key+voice" and refusal.engine == "none":
        yield warning("refusal.in_call", 'key+voice: the key alone, while refusal.engine is "none"')
    yield from _unheard_prompts(config)


def _unheard_prompts(config: Config) -> Iterator[Finding]:
    """Languages that no caller can reach, and a first prompt that no caller hears."""
    prompts = config.prompts
    reached = {*prompts.languages.values(), *prompts.choices.values()}
    for language in prompts.overrides:
        if language not in reached:
            nowhere = Reason("no number of prompts.languages and no key of prompts.choices leads to it")
            yield warning(f"prompts.{language}", "without effect: {0}", nowhere)
    numbers = config.trunk.numbers
    if prompts.choices and numbers and all(number in prompts.languages for number in numbers):
        decided = Reason("prompts.languages decides for every number of trunk.numbers")
        yield warning("prompts.choices", "without effect: {0}", decided)
    default = config.service.language
    if numbers and all(prompts.languages.get(number, default) != default for number in numbers):
        yield warning("service.language", "{0}: no number of trunk.numbers is answered in it", default)


def password_findings(config: Config) -> Iterator[Finding]:
    """Read the passwords as the agent will, and see who else can."""
    for table, read in (("trunk", config.trunk_login), ("operators", config.operator_login)):
        where = config.trunk if table == "trunk" else config.operators
        if where.username:
            yield from _password(table, read, where.password_file)
    operators = config.operators
    first = [operators.outbound_proxy] if operators.outbound_proxy else operators.extensions
    for host in sorted(pbx_hosts(config) if operators.username else {uri_host(uri)[0] for uri in first}):
        if not looked_up(host):
            said = "it is given no password" if operators.username else "nobody is rung there"
            yield warning("operators.extensions", "{0} leads to no address: {1}", host, Reason(said))
    trunk = config.trunk
    if trunk.username and not trunk.realm and not trunk.registrar:
        yield warning("trunk.realm", "empty, and no registrar names it: nobody is ever given the password")


def page_findings(config: Config) -> Iterator[Finding]:
    """See who else can read what the page keeps for itself, as far as it is there."""
    web = config.web
    yield from readable("web.private_key", web.private_key)
    yield from readable("web.oidc_client_secret_file", web.oidc_client_secret_file)
    yield from readable("accounts.db", config.places.accounts)
    yield from readable("accounts.key", config.places.accounts_key)
    if config.shared and config.places.accounts.exists():
        said = Reason("not used any more: who may log in is in the database that hosts share")
        yield warning("accounts.db", "{0}; accepted: removed", said)


def event_findings(config: Config) -> Iterator[Finding]:
    """Read the secrets of events as the agent will, see who else can, and where the receiver's name leads."""
    told = config.events
    if told is None:
        return
    secrets, webhook = "events.secret_file", "events.webhook"
    try:
        count = len(config.event_secrets())
    except ConfigError as problem:
        yield error(problem.key, problem.problem)
    else:
        good = ok(secrets, "{0}: {1}", told.secret_file, counted(count, "secret"))
        yield from [*readable(secrets, told.secret_file)] or [good]
    try:
        found = {where[0] for _, where in Fence(told.allow_private).addresses(told.webhook)}
    except OSError as fault:
        yield error(webhook, "{0}: {1}", told.receiver, strerror(fault))
    else:
        yield ok(webhook, "{0}, at {1}", told.receiver, ", ".join(sorted(found)))


def _password(table: str, read: Callable[[], Login | None], path: Path | None) -> Iterator[Finding]:
    what = f"{table}.password_file"
    try:
        read()
    except ConfigError as problem:
        yield error(problem.key, problem.problem)
        return
    if path is None:
        yield ok(f"{table}.password_env", "set")
    elif found := [*readable(what, path)]:
        yield from found
    elif path.stat().st_mode & 0o077:
        yield ok(what, "{0} is read by root and its group only", path)
    else:
        yield ok(what, "{0} is read by its owner only", path)
