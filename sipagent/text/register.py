"""What the register of processing activities must say of the recordings (GDPR article 30(1)): pure.

The configuration, the public keys and the notices go in; a `RegisterEntry` comes out, made of statements.
Each has a name, which is its place in the JSON and never depends on a language, a value, and the keys of
config.toml that it rests on. Its sentences stand under its name in `register.fr.txt` and `register.en.txt`.

What is switched off is stated as such. Nothing depends on the day, the machine or the version, so that an
entry written once can be compared with the present one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retention.records import Json
from retention.vault import PublicKey
from sipagent.config.hours import DAYS, days_shown, shown, without
from sipagent.config.load import Config
from sipagent.config.rules import is_example
from sipagent.config.sampling import Shares
from sipagent.config.tables import database_servers
from sipagent.text.notice import SpokenNotice

FORMAT = "sipagent-register-1"

_DRAWN_BY = (
    "recording.enabled",
    "recording.share",
    *(f"recording.window.{key}" for key in ("days", "hours", "share", "begin")),
    "recording.begin",
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that the entry states.

    `name` is the place of `value` in the JSON: `retention.recordings`. `keys` of config.toml determine it; a
    statement that depends only on the program has none. `how` picks one of its sentences if it has several.
    """

    name: str
    value: object
    keys: tuple[str, ...] = ()
    how: str = ""

    @property
    def said_as(self) -> str:
        """Its name in the templates: all notices are said alike, and all details."""
        alike = ("information.notices", "information.details")
        return next((name for name in alike if self.name.startswith(f"{name}.")), self.name)


@dataclass(frozen=True, slots=True)
class RegisterEntry:
    """The whole entry: its statements in order, and the keys of config.toml that must still be filled in."""

    statements: tuple[Statement, ...]
    to_complete: tuple[str, ...]

    def to_json(self) -> Json:
        """By the statements' names; texts are those of the configuration, null if it has none."""
        json: Json = {"format": FORMAT}
        for statement in self.statements:
            *folders, last = statement.name.split(".")
            place = json
            for folder in folders:
                place = place.setdefault(folder, {})
            place[last] = statement.value
        return json | {"to_complete": list(self.to_complete)}


def entry(config: Config, recipients: Sequence[PublicKey], notices: Sequence[SpokenNotice]) -> RegisterEntry:
    """The entry as the configuration makes it.

    `recipients` are the keys in the files of `recording.recipients`, in their order; `notices` are those of
    `spoken_notices`.
    """
    statements = (
        *_processing(config),
        *_controller(config),
        *_purposes(config),
        *_persons_and_data(config),
        *_recipients(config, recipients),
        *_periods(config),
        *_information(config, notices),
        *_choice(config),
        *_security(config, recipients),
    )
    missing = [key for statement in statements if statement.how in MISSING for key in statement.keys[-1:]]
    return RegisterEntry(statements, tuple(dict.fromkeys(missing)))


# The sentences that ask for something; the last of the statement's keys must be filled in.
MISSING = frozenset({"missing", "example", "all", "nameless", "wordless"})


def _text(name: str, key: str, text: str) -> Statement:
    """A text that a person must have written."""
    said = text.strip()
    if not any(char.isalnum() for char in said):  # also the dots of a template
        return Statement(name, None, (key,), "missing")
    return Statement(name, said, (key,), "example" if is_example(said) else "")


def _processing(config: Config) -> Iterator[Statement]:
    yield Statement("processing.name", config.service.name, ("service.name",))
    numbers = list(config.trunk.numbers)
    yield Statement("processing.lines", numbers, ("trunk.numbers",), "" if numbers else "any")
    recording = config.recording
    why = recording.justification.strip()
    how = _extent(config.shares()) + ("_justified" if why else "") if records(config) else "off"
    windows = [
        {"days": [DAYS[day] for day in one.days], "hours": shown(one.hours), "share": one.share}
        | ({"begin": one.begin} if one.begin else {})
        for one in recording.window
    ]
    yield Statement(
        "processing.extent",
        {
            "enabled": recording.enabled,
            "share": recording.share,
            "windows": windows,
            "justification": why or None,
        },
        (*_DRAWN_BY, "recording.justification"),
        how,
    )
    if records(config) and True in config.shares().begins:
        code = config.operators.record_code
        ways = "operator" if config.shares().begins == {True} else "hours"
        yield Statement("processing.begin", {"code": code}, (*_DRAWN_BY, "operators.record_code"), ways)


def _extent(shares: Shares) -> str:
    if shares.begins == {True} and shares.lowest == 1:
        return "chosen"
    if shares.lowest == 1:
        return "all"
    return "windows" if shares.windows else "share"


def records(config: Config) -> bool:
    """Whether any call may be recorded."""
    return config.recording.enabled and config.shares().highest > 0


def _controller(config: Config) -> Iterator[Statement]:
    """Article 30(1)(a), and the basis in article 6(1), on which all the rest stands."""
    service = config.service
    yield Statement("controller.name", service.controller, ("service.controller",))
    yield _text("controller.contact", "service.controller_contact", service.controller_contact)
    yield _text("dpo.contact", "service.dpo_contact", service.dpo_contact)
    yield _text("legal_basis", "service.legal_basis", service.legal_basis)


def _purposes(config: Config) -> Iterator[Statement]:
    """Article 30(1)(b)."""
    kept = config.retention
    yield Statement("purposes.uses", list(kept.purposes), ("retention.purposes",))
    grounds = list(kept.hold_grounds)
    yield Statement("purposes.testimony", grounds, ("retention.hold_grounds",), "" if grounds else "none")
    if config.enrol is not None:
        called = {"extension": config.enrol.extension}
        yield Statement("purposes.lent_voices", called, ("enrol.extension",))


def _persons_and_data(config: Config) -> Iterator[Statement]:
    """Article 30(1)(c)."""
    web, page = config.web, config.web.listen is not None
    persons = ["callers", "operators", "users_of_recordings", *(["account_holders"] if page else [])]
    yield Statement("persons.categories", persons, ("web.listen",), "page" if page else "")
    yield Statement("data.voice", records(config), _DRAWN_BY, "" if records(config) else "off")
    verified = config.trunk.verify_identity
    numbers = {"numbers": ["caller", "called", "operator"], "attestation": True, "verified": verified}
    yield Statement("data.numbers", numbers, ("trunk.verify_identity",), "verified" if verified else "")
    yield Statement("data.call", ["times", "outcome", "decision", "keys_pressed", "events", "call_id"])
    yield Statement("data.analysis", ["text", "author"])
    traced = ["time", "action", "purpose", "by", "system_user", "reference", "destination"]
    traced += ["login", "logins", "network_address"] if page else []
    yield Statement("data.uses", traced, ("web.listen",), "page" if page else "")
    yield Statement(
        "data.accounts",
        {"accounts": page, "provider": web.oidc_issuer} if page else None,
        ("web.listen", "web.oidc_issuer"),
        "none" if not page else "provider" if web.oidc_issuer else "",
    )
    if config.enrol is not None:
        yield Statement("data.lent_voices", {"listed": len(config.enrol.colleagues)}, ("enrol.colleagues",))
    heard = config.refusal.engine != "none"
    nothing = {"heard": heard, "emotion": False, "person": False}
    yield Statement("data.recognition", nothing, ("refusal.engine",), "" if heard else "off")
    yield Statement(
        "data.sensitive", {"sought": False, "pause": config.operators.pause_code}, ("operators.pause_code",)
    )


def _recipients(config: Config, recipients: Sequence[PublicKey]) -> Iterator[Statement]:
    """Article 30(1)(d) and (e)."""
    listeners = [{"name": key.comment or None, "key": key.id} for key in recipients]
    how = "clear" if not listeners else "" if all(one["name"] for one in listeners) else "nameless"
    yield Statement("recipients.listeners", listeners, ("recording.recipients",), how)
    grounds = list(config.retention.hold_grounds)
    keys, none = ("retention.hold_grounds",), "" if grounds else "none"
    yield Statement("recipients.authorities", grounds, keys, none)
    web = config.web
    if web.listen is not None and web.oidc_issuer:
        groups = [{"group": group, "role": role} for group, role in web.oidc_roles.items()]
        provider = {"issuer": web.oidc_issuer, "groups": groups}
        yield Statement("recipients.login_provider", provider, ("web.oidc_issuer", "web.oidc_roles"))
    yield from _processors(config)
    yield from _told(config)
    url = config.retention.timestamp_url
    yield Statement(
        "transfers.third_countries",
        {"by_program": [], "time_stamps": url},
        ("retention.timestamp_url",),
        "stamped" if url else "",
    )


def _processors(config: Config) -> Iterator[Statement]:
    """Who keeps it for the controller (article 28), where that is another: database and store elsewhere."""
    if config.shared is not None:
        servers = database_servers(config.shared)
        yield Statement("recipients.database", {"servers": servers}, ("retention.database",))
    if config.objects is not None:
        store = {"bucket": config.objects.url, "at": config.objects.address}
        yield Statement(
            "recipients.object_store", store, ("objects.url", "objects.endpoint", "objects.region")
        )


def _told(config: Config) -> Iterator[Statement]:
    """Whom events tell what happened."""
    if config.events is not None:
        value = {"at": config.events.receiver, "personal": config.events.personal}
        how = "personal" if config.events.personal else ""
        yield Statement("recipients.events", value, ("events.webhook", "events.personal"), how)


def _periods(config: Config) -> Iterator[Statement]:
    """Article 30(1)(f)."""
    kept = config.retention
    why = kept.justification.strip()
    yield Statement(
        "retention.recordings",
        {"period": kept.period, "justification": why or None},
        ("retention.period", "retention.justification"),
        "justified" if why else "",
    )
    yield Statement("retention.receipts", {"period": kept.receipts_period}, ("retention.receipts_period",))
    analysis = ("retention.analysis_period",)
    yield Statement("retention.analysis", {"period": kept.analysis_period}, analysis)
    erased, key = kept.erase_after_note, ("retention.erase_after_note",)
    fate, how = ("erased", "on") if erased else ("kept", "off")
    yield Statement("retention.sound_after_analysis", fate, key, how)
    yield Statement("retention.uses", {"period": kept.analysis_period}, analysis)
    if config.web.listen is not None:
        minutes = config.web.session_minutes
        yield Statement(
            "retention.accounts", {"session_minutes": minutes}, ("web.listen", "web.session_minutes")
        )
    grounds = ("retention.hold_grounds",)
    yield Statement("retention.holds", bool(kept.hold_grounds), grounds, "" if kept.hold_grounds else "none")
    if config.enrol is not None:
        yield Statement("retention.lent_voices", {"days": config.enrol.keep_days}, ("enrol.keep_days",))
    yield Statement("retention.tombstones", ["id", "times", "decision", "bytes", "sha256"])


def _information(config: Config, notices: Sequence[SpokenNotice]) -> Iterator[Statement]:
    """Articles 13 and 21(4): what is said before anything is recorded."""
    yield from _relay(config)
    yield Statement("information.before_any_contact", True)
    default = config.service.language
    for notice in notices:
        words = " ".join((notice.prompt.words or "").split())
        own = notice.language == default or notice.language not in config.prompts.overrides
        key = "prompts.notice" if own else f"prompts.{notice.language}.notice"
        yield Statement(
            f"information.notices.{notice.language}",
            {"numbers": list(notice.numbers), "keys": list(notice.keys), "words": words or None},
            ("service.language", "prompts.languages", "prompts.choices", key),
            ("" if notice.language == default else _reached(notice)) if words else "wordless",
        )
        if notice.details:
            own_details = getattr(config.prompts.overrides.get(notice.language), "details", None)
            yield Statement(
                f"information.details.{notice.language}",
                {
                    "digit": config.refusal.details_digit,
                    "words": " ".join((notice.details.words or "").split()),
                },
                (
                    "refusal.details_digit",
                    f"prompts.{notice.language}.details" if own_details else "prompts.details",
                ),
            )


def _relay(config: Config) -> Iterator[Statement]:
    """How those are informed, and served, who do not hear."""
    access, week = config.access, config.hours.week if config.hours else None
    if access.relay:
        hours = days_shown(access.relay_hours) if access.relay_hours else None
        fewer = any(without(week, access.relay_hours)) if access.relay_hours else False
        value = {"relay": access.relay, "hours": hours and [*hours], "as_the_service": not fewer}
        keys = ("access.relay", "access.relay_hours", "hours.week")
        yield Statement("information.relay", value, keys, "fewer" if fewer else "")


def _reached(notice: SpokenNotice) -> str:
    """How callers reach the notice in its language; all others hear the service's language."""
    if notice.numbers:
        return "numbers_keys" if notice.keys else "numbers"
    return "keys" if notice.keys else ""


def _choice(config: Config) -> Iterator[Statement]:
    """Articles 7 and 21, then 15 and 17."""
    refusal = config.refusal
    heard, opt_in = refusal.engine != "none", refusal.mode == "opt_in"
    yield Statement(
        "rights.choice",
        {
            "mode": refusal.mode,
            "digit": ", ".join(refusal.refusing),
            "accept_digit": refusal.accept_digit if opt_in else None,
            "window_s": refusal.window_s,
        },
        ("refusal.mode", "refusal.digit", "refusal.accept_digit", "refusal.window_s"),
        refusal.mode,
    )
    yield Statement(
        "rights.by_voice",
        {
            "engine": refusal.engine,
            "keywords": list(refusal.keywords) if heard else [],
            "accept_keywords": list(refusal.accept_keywords) if heard and opt_in else [],
            "accept_digit": refusal.accept_digit if heard else None,
        },
        (
            *("refusal.engine", "refusal.mode", "refusal.keywords"),
            *("refusal.accept_keywords", "refusal.accept_digit"),
        ),
        "off" if not heard else "accept" if opt_in else "",
    )
    aloud = heard and refusal.in_call == "key+voice"
    yield Statement(
        "rights.in_call",
        {"digit": ", ".join(refusal.refusing), "keywords": list(refusal.in_call_keywords) if aloud else []},
        ("refusal.digit", "refusal.engine", "refusal.in_call", "refusal.in_call_keywords"),
        "aloud" if aloud else "",
    )
    yield Statement("rights.access", ["both_channels", "caller_channel", "reference", "call_reference"])
    yield Statement("rights.erasure", ["reason", "certificate"])
    if config.enrol is not None:
        yield Statement("rights.lent_voices", {"consent": "1"}, ("enrol.extension",))


def _security(config: Config, recipients: Sequence[PublicKey]) -> Iterator[Statement]:
    """Article 30(1)(g), 32: `on` is true only for what the agent guarantees with this configuration."""
    kept, operators = config.retention, config.operators
    yield _measure("sealing", bool(recipients), {"recipients": len(recipients)}, "recording.recipients")
    yield _measure("sealed_rows", config.shared is not None, None, "retention.database")
    yield _signalling(config)
    yield _media(config)
    yield _measure("fail_closed", True)
    yield _measure(
        "stopping",
        True,
        {"code": operators.stop_code, "erases": operators.stop_erases},
        *("operators.stop_code", "operators.stop_erases"),
        how="erases" if operators.stop_erases else "keeps",
    )
    yield _measure("pausing", True, {"code": operators.pause_code}, "operators.pause_code")
    yield _measure("purposes", True, {"purposes": list(kept.purposes)}, "retention.purposes")
    yield _measure("trace", True)
    grounds, page = list(kept.hold_grounds), config.web.listen is not None
    yield _measure(
        "four_eyes",
        bool(grounds),
        {"grounds": grounds},
        *("retention.hold_grounds", "web.listen"),
        how="page" if grounds and page else "",
    )
    if page:
        yield from _page(config, recipients)
    yield _measure("purge", True)
    yield _measure("chain", True)
    url = kept.timestamp_url
    yield _measure("time_stamps", bool(url), {"authority": url}, "retention.timestamp_url")


def _measure(name: str, on: bool, more: Json | None = None, *keys: str, how: str = "") -> Statement:
    value: Json = {"on": on, **(more or {})}
    return Statement(f"security.{name}", value, keys, how or ("on" if on else "off"))


def _signalling(config: Config) -> Statement:
    transport = config.trunk.transport
    return _measure("signalling", transport == "tls", {"transport": transport}, "trunk.transport")


def _media(config: Config) -> Statement:
    """SRTP gets its keys from the signalling (SDES, RFC 4568): if that is in clear, so are the keys."""
    tls = config.trunk.transport == "tls" and (config.operators_srtp == "off" or config.operators_by_tls)
    srtp = min(config.trunk.srtp, config.operators_srtp, key=("off", "optional", "required").index)
    how = "off" if srtp == "off" else f"{srtp}_tls" if tls else srtp
    keys = ("trunk.srtp", "operators.srtp", "trunk.transport")
    return _measure(
        "media", srtp == "required" and tls, {"srtp": srtp, "keys_in_clear": not tls}, *keys, how=how
    )


def _page(config: Config, recipients: Sequence[PublicKey]) -> Iterator[Statement]:
    """What protects the page; behind a proxy its line is the proxy's affair."""
    web = config.web
    issuer = web.oidc_issuer
    how = "provider" if issuer else "own"
    yield _measure("logins", True, {"provider": issuer}, "web.listen", "web.oidc_issuer", how=how)
    proxies = [str(network) for network in web.trusted_proxies]
    by = "certificate" if web.certificate else "proxy" if proxies else "loopback"
    keys = ("web.listen", "web.certificate", "web.trusted_proxies")
    yield _measure("page_line", by != "proxy", {"by": by, "proxies": proxies}, *keys, how=by)
    yield _measure("opened_by_listeners", bool(recipients), None, "web.listen", "recording.recipients")
