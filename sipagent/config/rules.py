"""Relations between keys of config.toml, and the example values of the shipped one.

Pure: a checked Config in, complaints out, the most useful first. Examples that were left in place are
none of these: with them it loads, but told to callers they would be false, so a network must not be able
to call.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from retention.post import Fence
from retention.texts import Reason
from sipagent.config import tables
from sipagent.config.errors import ConfigError, counted, shown
from sipagent.config.model import Config
from sipagent.config.types import HostPort, is_by_tls, outlasts, uri_host, uri_user

SIX_MONTHS_DAYS = 181  # the shortest six calendar months, 1 September to 1 March
PORTS_PER_CALL = 8  # two legs, RTP and RTCP each, and as many that are being closed
PORTS_LEAST = 32
APART = Reason("a range apart from it")


class Complaint(NamedTuple):
    """What `ConfigError` says, without the file."""

    key: str
    problem: str
    accepted: str = ""


def complaints(config: Config) -> Iterator[Complaint]:
    """Yield all that is wrong between keys, the most useful first."""
    yield from _trunk(config)
    yield from _credentials("trunk", config.trunk)
    yield from _credentials("operators", config.operators)
    yield from _transfers(config)
    yield from _repeated(config)
    yield from _keys_pressed(config)
    yield from _words_spoken(config)
    yield from _ports(config)
    yield from _edge(config)
    if config.access.relay_hours and not config.access.relay:
        yield Complaint("access.relay_hours", "given without a relay", "access.relay with it")
    yield from _languages(config)
    yield from _windows(config)
    yield from _retention(config)
    yield from _shared(config)
    yield from _events(config)
    yield from _web(config)
    yield from _oidc(config)
    yield from _enrol(config)


def _trunk(config: Config) -> Iterator[Complaint]:
    if not config.trunk.registrar and not config.trunk.allowed_sources:
        yield Complaint(
            "trunk.allowed_sources",
            "empty, and there is no registrar, so nobody could call",
            'a list such as ["192.0.2.0/24"], or trunk.registrar',
        )

    yield from _identity(config)


def _identity(config: Config) -> Iterator[Complaint]:
    trunk, hosts = config.trunk, "trunk.identity_hosts"
    if trunk.verify_identity and not (trunk.identity_certificates or trunk.identity_hosts):
        accepted = Reason("trunk.identity_certificates or {0} with it", hosts)
        yield Complaint("trunk.verify_identity", "true, and nothing to verify by", accepted)
    if trunk.verify_identity and trunk.identity_hosts and not config.edge.start:
        problem = "given where edge.start is false: such an edge tells nobody what calls name"
        yield Complaint(hosts, problem, "trunk.identity_certificates")


def _credentials(table: str, where: tables.CredentialsTable) -> Iterator[Complaint]:
    sources = bool(where.password_file) + bool(where.password_env)
    if sources == 2:
        yield Complaint(f"{table}.password_env", "given beside password_file", "one of the two")
    elif where.username and not sources:
        yield Complaint(
            f"{table}.username", "given without a password", "password_file or password_env with it"
        )
    elif sources and not where.username:
        key = "password_file" if where.password_file else "password_env"
        yield Complaint(f"{table}.{key}", "given without a user name", Reason("{0}.username with it", table))


def _transfers(config: Config) -> Iterator[Complaint]:
    operators = config.operators
    if operators.transfer == "refer" and not operators.refer_targets:
        yield Complaint(
            "operators.refer_targets", "empty, where operators.transfer is 'refer'", "a list of SIP URIs"
        )


def _repeated(config: Config) -> Iterator[Complaint]:
    """An operator in a list twice would ring twice, or is a mistake for another."""
    operators, trunk = config.operators, config.trunk
    for name in ("extensions", "refer_targets", "transfer_targets"):
        listed: tuple[str, ...] = getattr(operators, name)
        yield from _twice(f"operators.{name}", listed, [_phone(uri) for uri in listed])
    yield from _twice("trunk.numbers", trunk.numbers, trunk.numbers)
    yield from _twice("trunk.codecs", trunk.codecs, trunk.codecs)


def _twice(key: str, written: Sequence[str], meant: Sequence[object]) -> Iterator[Complaint]:
    for place, one in enumerate(meant):
        if (first := meant.index(one)) < place:
            problem = Reason("{0} is there already, as {1}[{2}]", shown(written[place]), key, first)
            yield Complaint(f"{key}[{place}]", problem, "each once")


def _phone(uri: str) -> tuple[str | None, str, int | None]:
    """What a URI rings: its parameters say only how it is reached (RFC 3261 section 19.1.4)."""
    host, port = uri_host(uri)
    return uri_user(uri), host.lower(), port


def _keys_pressed(config: Config) -> Iterator[Complaint]:
    """Digits and codes must be clear at every key pressed: none equals another or is part of it."""
    refusal, operators = config.refusal, config.operators
    accepts, details = refusal.accept_digit, refusal.details_digit
    if accepts in refusal.refusing:
        yield Complaint(
            "refusal.accept_digit",
            Reason("{0!r} is refusal.digit too", accepts),
            "another key of a telephone",
        )
    if _has_details(config) and details in (*refusal.refusing, accepts):
        other = "refusal.digit" if details in refusal.refusing else "refusal.accept_digit"
        problem = Reason("{0!r} is {1} too", details, other)
        yield Complaint("refusal.details_digit", problem, "another key of a telephone")
    taken = [(name, digit) for digit, name in _callers_keys(config).items()]
    used = ["record_code"] if True in config.shares().begins else []
    for name in ("stop_code", "pause_code", "flag_code", *used):
        keys: str = getattr(operators, name)
        for other, theirs in taken:
            clash = keys == theirs
            if other.startswith("operators."):  # the caller's digits come on the other leg
                clash = keys in theirs or theirs in keys
            if clash:
                yield Complaint(
                    f"operators.{name}",
                    Reason("{0!r} cannot be told from {1} {2!r}", keys, other, theirs),
                    "other keys",
                )
        taken.append((f"operators.{name}", keys))


def _has_details(config: Config) -> bool:
    return any(one.details for one in config.prompt_sets())


def _callers_keys(config: Config) -> dict[str, str]:
    """What each key is that a caller presses."""
    refusal = config.refusal
    return {
        **({refusal.details_digit: "refusal.details_digit"} if _has_details(config) else {}),
        **dict.fromkeys(refusal.refusing, "refusal.digit"),
        refusal.accept_digit: "refusal.accept_digit",
    }


def _words_spoken(config: Config) -> Iterator[Complaint]:
    """A detector without words hears no refusal. One that nobody has asked for stays away then."""
    refusal = config.refusal
    if refusal.engine_written and refusal.engine != "none" and not refusal.keywords:
        problem = Reason("empty, where refusal.engine is {0!r}", refusal.engine)
        yield Complaint("refusal.keywords", problem, 'one word or more, or refusal.engine = "none"')
    if refusal.in_call == "key+voice" and not refusal.in_call_keywords:
        problem = Reason("empty, where refusal.in_call is 'key+voice'")
        yield Complaint("refusal.in_call_keywords", problem, 'one word or more, or refusal.in_call = "key"')


def _ports(config: Config) -> Iterator[Complaint]:
    trunk, edge = config.trunk, config.edge
    needed = max(PORTS_LEAST, PORTS_PER_CALL * config.capacity.calls)
    if len(trunk.rtp_ports) < needed:
        yield Complaint(
            "trunk.rtp_ports",
            Reason("'{0}' holds {1}", trunk.rtp_ports, counted(len(trunk.rtp_ports), "port")),
            Reason("{0} or more for capacity.calls", needed),
        )
    if shared := trunk.shared_address:
        if trunk.listen.is_any:
            problem = Reason("'{0}' is every address, where trunk.shared_address is given", trunk.listen)
            yield Complaint("trunk.listen", problem, "the address that this host always has")
        elif shared == trunk.listen.host or (":" in shared) != (":" in trunk.listen.host):
            problem = Reason("'{0}' is that of trunk.listen, or of another kind", shared)
            yield Complaint("trunk.shared_address", problem, "another address, as IPv4 or IPv6 as that one")
    if trunk.listen_ipv6 and ":" in trunk.listen.host:
        problem = Reason("'{0}' is IPv6 already", trunk.listen)
        yield Complaint("trunk.listen", problem, "an IPv4 address, beside trunk.listen_ipv6")
    if ":" in trunk.listen.host and ":" not in (shown := trunk.public_address or trunk.listen.host):
        problem = Reason("'{0}' is no IPv6 address, where trunk.listen is one", shown)
        yield Complaint("trunk.public_address", problem, "an IPv6 address, or none")
    listens: dict[str, HostPort | None] = {
        "trunk.listen": trunk.listen,
        "trunk.listen_ipv6": trunk.listen_ipv6,
        "metrics.listen": config.metrics.listen,
        "edge.tls_listen": edge.tls_listen,
        "web.listen": config.web.listen,
    }
    apart = [("edge.tls_listen", "trunk.listen"), ("edge.tls_listen", "trunk.listen_ipv6")]
    apart += [("metrics.listen", "trunk.listen")] * (trunk.transport == "tcp")
    apart += [("web.listen", "trunk.listen")] * (trunk.transport != "udp")
    apart += [("web.listen", "metrics.listen"), ("web.listen", "edge.tls_listen")]
    for key, other in apart:
        mine, taken = listens[key], listens[other]
        if mine and taken and mine.port == taken.port:
            yield Complaint(key, Reason("'{0}' has the port of {1}", mine, other), "another port")
    for key, ports, others in (
        ("trunk.rtp_ports", trunk.rtp_ports, ("trunk.listen", "trunk.listen_ipv6")),
        ("edge.worker_ports", edge.worker_ports, ("trunk.listen", "trunk.listen_ipv6", "edge.tls_listen")),
    ):
        for other in others:
            if (taken := listens[other]) and ports.first <= taken.port <= ports.last:
                yield Complaint(key, Reason("'{0}' holds the port of {1}", ports, other), APART)
    if edge.worker_ports.first <= trunk.rtp_ports.last and trunk.rtp_ports.first <= edge.worker_ports.last:
        yield Complaint(
            "edge.worker_ports", Reason("'{0}' overlaps trunk.rtp_ports", edge.worker_ports), APART
        )


def _pair(table: str, where: tables.EdgeTable | tables.WebTable) -> Iterator[Complaint]:
    """A certificate and its key come together."""
    if (where.certificate is None) != (where.private_key is None):
        given, other = ("certificate", "private_key") if where.certificate else ("private_key", "certificate")
        yield Complaint(f"{table}.{given}", Reason("given without {0}", f"{table}.{other}"), "both, or none")


def _edge(config: Config) -> Iterator[Complaint]:
    edge, trunk, operators = config.edge, config.trunk, config.operators
    yield from _pair("edge", edge)
    speaks_tls = trunk.transport == "tls" or edge.tls_listen is not None
    if speaks_tls and edge.certificate is None:
        what = "edge.tls_listen" if edge.tls_listen else "trunk.transport"
        yield Complaint(what, "means TLS, and there is no certificate", "edge.certificate with it")
    asking = {
        "operators.extensions": operators.extensions,
        "operators.transfer_targets": operators.transfer_targets,
        "operators.outbound_proxy": (operators.outbound_proxy or "",),
    }
    for key, uris in asking.items():
        if not speaks_tls and any(map(is_by_tls, uris)):
            yield Complaint(key, "asks for TLS, which nothing here speaks", "edge.tls_listen with it")
    if trunk.srtp == "required" and trunk.transport != "tls":
        problem = Reason("'required' sends its keys in clear with trunk.transport {0}", trunk.transport)
        yield Complaint("trunk.srtp", problem, 'trunk.transport = "tls" (RFC 4568), or "optional"')
    if config.operators_srtp == "required" and not config.operators_by_tls:
        problem = Reason("'required' sends its keys in clear: not every phone is called by TLS")
        yield Complaint("operators.srtp", problem, 'transport=tls in their URIs (RFC 4568), or "optional"')


def _languages(config: Config) -> Iterator[Complaint]:
    prompts, default = config.prompts, config.service.language
    for language in prompts.overrides:
        if not re.fullmatch(r"[a-z]{2,3}", language, re.ASCII):
            yield Complaint(
                "prompts", Reason("has the table {0}", shown(language)), "a language such as [prompts.en]"
            )
        if language == default:
            yield Complaint(f"prompts.{language}", "is the default language", "its files in [prompts]")
        for name in prompts.overrides[language].messages.keys() - prompts.messages.keys():
            absent = Reason("{0} is not in [prompts.messages]", shown(name))
            yield Complaint(
                f"prompts.{language}.messages", absent, ", ".join(prompts.messages) or tables.PROMPT
            )
    for number, language in prompts.languages.items():
        key = f"prompts.languages.{number}"
        if language != default and language not in prompts.overrides:
            known = ", ".join([default, *prompts.overrides])
            yield Complaint(key, Reason("'{0}' has no table [prompts.{1}]", language, language), known)
        if config.trunk.numbers and number not in config.trunk.numbers:
            yield Complaint(key, "is not in trunk.numbers", ", ".join(config.trunk.numbers))
    yield from _choices(config)


def _choices(config: Config) -> Iterator[Complaint]:
    """Languages by key. A caller who chose one must be informed in it, so its table has its own notice."""
    prompts, default = config.prompts, config.service.language
    if prompts.choices and not prompts.choose:
        yield Complaint("prompts.choices", "given without prompts.choose, which says the keys", tables.PROMPT)
    if prompts.choose and not prompts.choices:
        yield Complaint("prompts.choose", "given without prompts.choices", 'a table such as { "2" = "en" }')
    taken = _callers_keys(config)
    for digit, language in prompts.choices.items():
        key = f"prompts.choices.{digit}"
        if digit in taken:
            yield Complaint(
                key, Reason("{0!r} is {1} too", digit, taken[digit]), "another key of a telephone"
            )
        if language == default:
            continue
        if language not in prompts.overrides:
            known = ", ".join([default, *prompts.overrides])
            yield Complaint(key, Reason("'{0}' has no table [prompts.{1}]", language, language), known)
        elif prompts.overrides[language].notice is None:
            yield Complaint(
                f"prompts.{language}.notice", Reason("missing, and {0} chooses it", key), tables.PROMPT
            )


def _windows(config: Config) -> Iterator[Complaint]:
    if config.recording.window and "share" not in config.recording.model_fields_set:
        yield Complaint(
            "recording.window",
            "given without recording.share, so that every call outside it would be a candidate",
            "recording.share with it; 0.0 where nothing is to be recorded outside",
        )
    windows = config.shares().windows
    for number, window in enumerate(windows):
        for before, other in enumerate(windows[:number]):
            if day := window.overlaps(other):
                problem = Reason("overlaps recording.window[{0}] on {1}", before, day)
                yield Complaint(f"recording.window[{number}]", problem, "windows apart from each other")


def _retention(config: Config) -> Iterator[Complaint]:
    """Six months: CNIL, deliberation 2014-474 (NS 57), recordings of calls at work; GDPR article 5(1)(e)."""
    kept = config.retention
    if outlasts(kept.period, months=6, days=SIX_MONTHS_DAYS) and not kept.justification.strip():
        yield Complaint(
            "retention.period",
            Reason("'{0}' is longer than six months (CNIL, deliberation 2014-474)", kept.period),
            Reason("6 months, {0} days or less; more with retention.justification", SIX_MONTHS_DAYS),
        )
    if kept.timestamp_url and kept.timestamp_ca is None:  # the reverse: what was stamped once
        yield Complaint(
            "retention.timestamp_url", "given without certificates", "retention.timestamp_ca with it"
        )


def _shared(config: Config) -> Iterator[Complaint]:
    """More than one host."""
    if config.shared is None:
        if config.retention.database_password_file:
            yield Complaint(
                "retention.database_password_file",
                "given without a database that asks for one",
                "retention.database = 'postgresql://…' with it",
            )
        if config.cluster:
            yield Complaint(
                "cluster.host",
                "given without a database that hosts share",
                "retention.database = 'postgresql://…' with it",
            )
    elif config.cluster is None:
        yield Complaint("cluster.host", "absent, where hosts share a database", 'a name such as "a"')
    if config.objects and not config.recording.recipients:
        yield Complaint(
            "objects.url",
            "recordings would leave this host in clear",
            "recording.recipients with it: only what is sealed leaves",
        )


def _events(config: Config) -> Iterator[Complaint]:
    """Nothing in clear beyond the own network; whither a name leads is seen with each event."""
    told = config.events
    if told is None:
        return
    parts = urlsplit(told.webhook)
    if parts.scheme == "http" and not told.allow_private:
        problem = Reason("{0} would send events in clear", shown(told.receiver))
        yield Complaint("events.webhook", problem, "an https URL, or events.allow_private in the own network")
    try:
        address = ip_address(parts.hostname or "")
    except ValueError:
        return
    if fault := Fence(told.allow_private).fault(address, tls=parts.scheme == "https"):
        yield Complaint(
            "events.webhook", fault, "another address, or events.allow_private in the own network"
        )


def _web(config: Config) -> Iterator[Complaint]:
    """Passwords and recordings never cross a network in clear."""
    web = config.web
    yield from _pair("web", web)
    listen, url = web.listen, web.url
    if listen is None:
        return
    protected = web.certificate is not None or bool(web.trusted_proxies)
    if not listen.is_loopback and not protected:
        yield Complaint(
            "web.listen",
            Reason("'{0}' faces a network, and there is no certificate", listen),
            "127.0.0.1, or web.certificate, or web.trusted_proxies",
        )
    if url is None and (listen.is_any or not (listen.is_loopback or web.certificate)):
        yield Complaint(
            "web.url",
            Reason("missing, and '{0}' is not what people type", listen),
            "a URL such as https://ecoute.example.net",
        )
    if url and url.startswith("https:") and not protected:
        yield Complaint(
            "web.url",
            "is https, which nothing here speaks",
            "web.certificate, or web.trusted_proxies, with it",
        )
    if url and url.startswith("http:") and (web.certificate or not tables.is_here(url)):
        yield Complaint("web.url", Reason("'{0}' would have passwords sent in clear", url), "an https URL")


def _oidc(config: Config) -> Iterator[Complaint]:
    web = config.web
    needed = {
        "oidc_issuer": web.oidc_issuer,
        "oidc_client_id": web.oidc_client_id,
        "oidc_client_secret_file": web.oidc_client_secret_file,
    }
    given = [key for key, value in needed.items() if value]
    absent = [key for key, value in needed.items() if not value]
    if given and absent:
        yield Complaint(
            f"web.{given[0]}",
            Reason("given without web.{0}", absent[0]),
            Reason("{0}, or none", ", ".join(needed)),
        )
    if web.oidc_issuer and not web.oidc_roles:
        yield Complaint(
            "web.oidc_roles",
            "empty, so that nobody could log in",
            'a table such as { "ecoute-listeners" = "listener" }',
        )


def _enrol(config: Config) -> Iterator[Complaint]:
    """Two people must not share a folder, and each must have one."""
    known: dict[str, str] = {}
    for name in config.enrol.colleagues.values() if config.enrol else ():
        folder = tables.folder_name(name)
        if not folder:
            yield Complaint(
                "enrol.colleagues", Reason("{0} has no letter from a to z", shown(name)), "another name"
            )
        elif known.setdefault(folder, name) != name:
            problem = Reason("{0} cannot be told from {1}", shown(name), shown(known[folder]))
            yield Complaint("enrol.colleagues", problem, "other names")


SHIPPED_EXAMPLES = {
    "name": "Agglo J'écoute",
    "controller": "Communauté d'agglomération du Saint-Quentinois",
    "controller_contact": "contact@example.org",
    "dpo_contact": "dpo@example.org",
}
"""By the key of [service]."""
# Reserved for examples (RFC 2606 section 3): no one can be reached there.
_EXAMPLE = re.compile(r"@(?:[\w-]+\.)*example(?:\.(?:com|net|org))?(?![\w-]|\.\w)", re.IGNORECASE)


def is_example(text: str) -> bool:
    """Whether it has an address that cannot exist."""
    return _EXAMPLE.search(text) is not None


def example_left_in_place(key: str, value: str) -> bool:
    """Whether a key of [service] still has its shipped value, or another example."""
    return value.strip() == SHIPPED_EXAMPLES.get(key) or is_example(value)


def examples_left(service: tables.ServiceTable) -> dict[str, str]:
    """What still has its shipped value, or another example, by its key of [service]."""
    values = {key: str(getattr(service, key)) for key in SHIPPED_EXAMPLES}
    return {key: value for key, value in values.items() if example_left_in_place(key, value)}


def example_told(value: str) -> str:
    """What is wrong with an example."""
    return Reason("{0!r} is the shipped example: callers, and whoever asks, are told it", value)


def refuse_examples(service: tables.ServiceTable, file: Path) -> None:
    """Raise ConfigError for the first example, in this file: where a network can call."""
    for key, value in examples_left(service).items():
        raise ConfigError(file, f"service.{key}", example_told(value), "yours, or trunk.listen on 127.0.0.1")
