"""The tables of config.toml: one class a table, one attribute a key, under the names of the file.

    who answers, when, how many    [service], [hours], [capacity], [metrics]
    where calls come from and go   [trunk], [operators], [edge]
    what callers hear and say      [prompts], [refusal]
    several hosts                  [cluster], [objects], and the address of a shared database
    who is told what happened      [events]
    what is recorded and kept      [recording], [retention]
    the page                       [web]
    voices lent by colleagues      [enrol]

Every key says in `description` what it takes; the error for a wrong value ends with it.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

import media
from retention.texts import Reason
from sipagent.config import types
from sipagent.config.hours import Interval, Week
from sipagent.config.types import (
    Code,
    Digit,
    FilePath,
    HeaderName,
    HeaderValue,
    Language,
    Number,
    OptionalPath,
    OptionalServer,
    Period,
    RequiredText,
    Table,
    Text,
    Uri,
    key,
    known,
    optional,
    path,
    seconds,
    several,
)

LANGUAGE = "fr"  # without service.language


class ServiceTable(Table):
    """Who answers, and on what legal basis."""

    name: RequiredText = key("the name of the service, as the notice says it")
    controller: RequiredText = key("who is responsible for the recordings (GDPR article 4(7))")
    controller_contact: Text = key("how to reach the controller", "")
    dpo_contact: Text = key("how to reach the data protection officer", "")
    legal_basis: Text = key("the legal basis, GDPR article 6(1)", "")
    language: Language = key("the language of [prompts], such as fr", LANGUAGE)
    timezone: Annotated[ZoneInfo, PlainValidator(types.timezone)] = key(
        "a time zone such as Europe/Paris", "Europe/Paris"
    )
    country: Annotated[str, PlainValidator(types.country)] = key("an ISO 3166 country such as FR", "FR")


class HoursTable(Table):
    """When the service is open; `Config.schedule` evaluates them."""

    week: Annotated[Week | None, PlainValidator(types.week)] = Field(
        None, description='a table such as { mon = "08:30-12:00,13:30-24:00" }, absent days closed'
    )
    holidays: Annotated[types.Holidays, PlainValidator(types.public_holidays)] = Field(
        types.Holidays(), description="a country such as FR, or a list of dates YYYY-MM-DD"
    )
    closed: tuple[Annotated[tuple[date, date], PlainValidator(types.closure)], ...] = several(
        "a list of dates or of intervals such as 2026-12-24/2027-01-02", ()
    )


class AccessTable(Table):
    """How those reach the service who do not hear what is said (law 2016-1321, article 105, and decree
    2017-875)."""

    relay: Text = key("the name or the address of a relay for deaf callers; empty: none", "")
    relay_hours: Annotated[Week | None, PlainValidator(types.week)] = Field(
        None, description='a table such as { mon = "08:30-12:00,13:30-24:00" }; absent: as hours.week'
    )


class CapacityTable(Table):
    """How many callers at a time."""

    calls: int = key("a number of simultaneous callers, 1 to 10000", 1, ge=1, le=10_000)
    calls_per_process: int | None = key(
        "how many calls one process takes, 1 to 10000; absent: by the engine", None, ge=1, le=10_000
    )
    full_status: Literal[486, 503] = 503
    media_timeout_s: float = seconds(1, 3600, 30)


class MetricsTable(Table):
    """Numbers for Prometheus."""

    listen: Annotated[types.HostPort | None, optional(types.listen)] = key(
        "address:port such as 127.0.0.1:9464; absent: none", None
    )


class CredentialsTable(Table):
    """The keys that name a login: a user, and one place to read the password from."""

    username: Text = key("a user name", "")
    password_file: OptionalPath = key("a file that holds the password", None)
    password_env: Text = key("the name of an environment variable", "")


class TrunkTable(CredentialsTable):
    """Where calls come from."""

    uri: Uri = key("a SIP URI such as sip:agent@trunk.example.net")
    registrar: OptionalServer = key("a SIP URI such as sip:trunk.example.net; absent: no registration", None)
    realm: Text = key("the registrar's realm; empty: taken from its first challenge", "")
    transport: Literal["udp", "tcp", "tls"] = "udp"
    listen: Annotated[types.HostPort, PlainValidator(types.listen)] = key(
        "address:port such as 127.0.0.1:5060, IPv6 as [::1]:5060", "127.0.0.1:5060"
    )
    public_address: Annotated[str | None, optional(types.host)] = key(
        "a host name or an IP address; empty: that of listen", None
    )
    listen_ipv6: Annotated[types.HostPort | None, optional(types.listen_ipv6)] = key(
        "[address]:port of IPv6 such as [::]:5060, beside an IPv4 address in listen; empty: none", None
    )
    public_address_ipv6: Annotated[str | None, optional(types.address_ipv6)] = key(
        "an IPv6 address; empty: that of listen_ipv6", None
    )
    shared_address: Annotated[str | None, optional(types.address)] = key(
        "an IP address that moves between hosts; empty: none", None
    )
    rtp_ports: Annotated[types.PortRange, PlainValidator(types.port_range)] = key(
        "first-last such as 10000-10999, from 1024 on, the first one even", "10000-10999"
    )
    numbers: tuple[Number, ...] = several("a list of numbers such as +33323063006; empty: any", ())
    allowed_sources: tuple[Annotated[types.Network, PlainValidator(types.network)], ...] = several(
        "a list of addresses or networks such as 192.0.2.10 or 192.0.2.0/28; empty: the registrar's", ()
    )
    media_sources: tuple[Annotated[types.Network, PlainValidator(types.network)], ...] = several(
        "a list of addresses or networks such as 192.0.2.64/28; empty: where SDP and SIP say", ()
    )
    codecs: tuple[Annotated[str, PlainValidator(types.codec)], ...] = several(
        Reason("a list of {0}", ", ".join(types.CODECS)), ("PCMA", "PCMU", "G722"), least=1
    )
    srtp: Literal["off", "optional", "required"] = "off"
    verify_identity: bool = False
    identity_certificates: OptionalPath = key(
        "a folder of PEM files, each at HOST/PATH as in its https address; absent: none", None
    )
    identity_hosts: tuple[Annotated[str, PlainValidator(types.server)], ...] = several(
        "a list of hosts such as certificates.example.net; empty: nothing is fetched", ()
    )
    identity_roots: OptionalPath = key(
        "a PEM file of the roots that certificates must lead to; absent: those that are there count", None
    )
    identity_fresh_s: int = key("seconds that a signature may be old, 1 to 300", 60, ge=1, le=300)


class OperatorsTable(CredentialsTable):
    """Who answers the callers."""

    extensions: tuple[Uri, ...] = several("a list of SIP URIs such as sip:201@pbx.example.net", least=1)
    outbound_proxy: OptionalServer = key("a SIP URI such as sip:pbx.example.net;lr", None)
    strategy: Literal["sequential", "simultaneous", "round_robin"] = "sequential"
    ring_s: float = seconds(1, 300, 20)
    max_wait_s: float = seconds(0, 3600, 120)
    say_position: bool = False
    wrap_up_s: float = seconds(0, 3600, 0)
    alert_info_recorded: HeaderValue = key("the value of an Alert-Info header; empty: none", "")
    alert_info_not_recorded: HeaderValue = key("the value of an Alert-Info header; empty: none", "")
    recording_header: HeaderName = key("the name of a header such as X-Recording; empty: none", "")
    transfer: Literal["bridge", "refer"] = "bridge"
    refer_targets: tuple[Uri, ...] = several("a list of SIP URIs", ())
    transfer_targets: tuple[Uri, ...] = several("a list of SIP URIs; empty: the extensions", ())
    stop_code: Code = key("1 to 8 keys of a telephone such as *5", "*5")
    stop_erases: bool = True
    pause_code: Code = key("1 to 8 keys of a telephone such as *6", "*6")
    flag_code: Code = key("1 to 8 keys of a telephone such as *7", "*7")
    record_code: Code = key("1 to 8 keys of a telephone such as *8", "*8")
    srtp: Literal["off", "optional", "required"] | None = key(
        "off | optional | required; absent: as trunk.srtp", None
    )


class EdgeTable(Table):
    """Kamailio, which stands between the network and the processes that carry the calls."""

    start: bool = True
    worker_ports: Annotated[types.PortRange, PlainValidator(types.port_range)] = key(
        "first-last such as 7000-7999, from 1024 on, the first one even", "7000-7999"
    )
    invites_per_s: int | None = key(
        "INVITEs a second that one process is given, 1 to 1000; absent: by the engine", None, ge=1, le=1000
    )
    tls_listen: Annotated[types.HostPort | None, optional(types.listen)] = key(
        "address:port such as 0.0.0.0:5061; absent: TLS only where trunk.transport is tls", None
    )
    certificate: OptionalPath = key("a PEM file: the certificate and those that lead to its root", None)
    private_key: OptionalPath = key("a PEM file: the certificate's private key", None)
    ca: OptionalPath = key(
        "a PEM file of the roots that others' certificates are checked against; absent: the system's", None
    )


DEFAULT_ENGINE: Literal["embedding"] = "embedding"  # of refusal.engine, where it can be loaded
PROMPT = Reason("a WAV file; its words lie in a .txt of the same name")
MESSAGES = 'a table such as { flood = "prompts/flood.wav" }'


class PromptFiles(Table):
    """The prompts of another language; a missing one is that of the default language."""

    notice: OptionalPath = key(PROMPT, None)
    details: OptionalPath = key(PROMPT, None)
    welcome: OptionalPath = key(PROMPT, None)
    refused: OptionalPath = key(PROMPT, None)
    confirm: OptionalPath = key(PROMPT, None)
    closed: OptionalPath = key(PROMPT, None)
    unavailable: OptionalPath = key(PROMPT, None)
    hold_music: OptionalPath = key(PROMPT, None)
    please_hold: OptionalPath = key(PROMPT, None)
    messages: dict[RequiredText, FilePath] = key(MESSAGES, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSet:
    """What one caller may hear, with absolute paths."""

    language: str
    notice: Path
    welcome: Path
    refused: Path
    confirm: Path
    closed: Path
    unavailable: Path
    hold_music: Path
    please_hold: Path | None
    details: Path | None = None
    choose: Path | None = None
    messages: Mapping[str, Path] = field(default_factory=dict)  # by name

    @property
    def sounds(self) -> list[Path]:
        """All of them."""
        those = [getattr(self, name) for name in (*PromptFiles.model_fields, "choose") if name != "messages"]
        return [*filter(None, those), *self.messages.values()]


def _spoken(value: object, info: ValidationInfo) -> Path:
    """Default to the file that `init` copies; the notice promises a key alone, that of the mode."""
    if value is not None:
        return path(value, info)
    rules = known(info)
    name = f"{info.field_name}"
    if name == "notice":
        name += "_opt_in" * rules.opt_in
    return path(f"prompts/{rules.language}/{name}.wav", info)


def _language_table(value: object) -> object:
    if not isinstance(value, dict):  # a misspelt key, not the table of a language
        raise PydanticCustomError("extra_forbidden", "unknown key")
    return value


Spoken = Annotated[Path, PlainValidator(_spoken)]


class PromptsTable(Table):
    """The prompts of the default language; `[prompts.en]` and the like override some for another."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[PromptFiles, BeforeValidator(_language_table)]]

    notice: Spoken = key(PROMPT, None)
    details: OptionalPath = key(PROMPT, None)
    welcome: Spoken = key(PROMPT, None)
    refused: Spoken = key(PROMPT, None)
    confirm: Spoken = key(PROMPT, None)
    closed: Spoken = key(PROMPT, None)
    unavailable: Spoken = key(PROMPT, None)
    hold_music: FilePath = key(PROMPT, "prompts/hold.wav")
    please_hold: OptionalPath = key(PROMPT, None)
    messages: dict[RequiredText, FilePath] = key(MESSAGES, {})
    languages: dict[Number, Language] = key('a table such as { "+33323063007" = "en" }', {})
    choose: OptionalPath = key(PROMPT, None)
    choices: dict[Digit, Language] = key('a table such as { "2" = "en" }', {})

    @property
    def overrides(self) -> Mapping[str, PromptFiles]:
        """The tables of other languages, by language."""
        return self.__pydantic_extra__


WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "fr": {
        "keywords": ("ne m'enregistrez pas", "je refuse", "refuser", "pas d'enregistrement"),
        "accept_keywords": ("oui", "j'accepte"),
        "in_call_keywords": ("arrêtez l'enregistrement", "ne m'enregistrez pas"),
    },
    "en": {
        "keywords": ("no thank you no recording", "I refuse", "no recording", "do not record me"),
        "accept_keywords": ("yes", "I accept"),
        "in_call_keywords": ("stop recording", "do not record me"),
    },
    "de": {
        "keywords": ("ich möchte nicht aufgezeichnet werden", "ich lehne ab", "keine Aufzeichnung"),
        "accept_keywords": ("ja", "ich stimme zu"),
        "in_call_keywords": ("stoppen Sie die Aufzeichnung", "nehmen Sie mich nicht auf"),
    },
    "es": {
        "keywords": ("rechazo la grabación", "me niego", "sin grabación", "no quiero que me graben"),
        "accept_keywords": ("sí", "acepto"),
        "in_call_keywords": ("pare la grabación", "no me grabe"),
    },
}
"""By language and key of [refusal]; if a language has a shipped head, it hears each of them.

The first of `keywords` is the phrase to promise: of the long and natural ones that which is heard best, by
the measurements in media/README.md.
"""

_HEADS = Path(media.__file__).with_name("heads")


def words_of(languages: Iterable[str], key: str) -> tuple[str, ...]:
    """The words of those languages that have a head, in their order; French ones if none has."""
    return tuple(word for language in heard_in(languages) or ["fr"] for word in WORDS[language][key])


def heard_in(languages: Iterable[str]) -> list[str]:
    """Those of the languages in which the default words are heard: that have a head, each once."""
    heads = {path.stem for path in _HEADS.glob("*.npz")}
    return [language for language in dict.fromkeys(languages) if language in heads & WORDS.keys()]


def _words(value: object, info: ValidationInfo) -> object:
    """Default to the words of the languages of the notices."""
    return words_of(known(info).languages, str(info.field_name)) if value is None else value


Words = Annotated[tuple[RequiredText, ...], BeforeValidator(_words)]


class RefusalTable(Table):
    """How a caller says no, or yes."""

    mode: Literal["objection", "opt_in"] = "objection"
    digit: Digit = key("one key of a telephone: 0-9, * or #", "9")
    accept_digit: Digit = key("one key of a telephone: 0-9, * or #", "1")
    details_digit: Digit = key("one key of a telephone: 0-9, * or #", "3")
    engine: Literal["embedding", "vosk", "none"] = DEFAULT_ENGINE
    vosk_model: OptionalPath = key("the folder of a Vosk model", None)
    second: OptionalPath = key("the folder of a Whisper model in CTranslate2's form", None)
    heads: FilePath = key("a folder of heads that `sipagent train-keyword` made", "heads")
    keywords: Words = several("a list of words", None)
    accept_keywords: Words = several("a list of words", None)
    window_s: float = seconds(0.1, 60, 5.0)
    in_call: Literal["key", "key+voice"] = "key"
    in_call_keywords: Words = several("a list of words", None)

    @property
    def engine_written(self) -> bool:
        """Whether the file names an engine, which then must be loaded."""
        return "engine" in self.model_fields_set

    @property
    def refusing(self) -> tuple[str, ...]:
        """The keys that refuse."""
        return (self.digit,)


LEASE_S = 12.0
JOURNAL = "journal.db"


class DatabaseUrl(str):
    """The address of a PostgreSQL database, as libpq takes it; never with a password."""

    __slots__ = ()


def database_url(value: str) -> DatabaseUrl:
    """Take a `postgresql:` URL without a password, since every error would show it."""
    from psycopg.conninfo import conninfo_to_dict  # slow to import; most hosts have a file
    from psycopg.errors import ProgrammingError

    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("is not a postgresql URL")
    try:
        parts = conninfo_to_dict(value)
    except ProgrammingError as wrong:
        raise ValueError("is not a postgresql URL") from wrong
    if parts.get("password"):
        raise ValueError("has a password, which belongs in retention.database_password_file")
    if not parts.get("dbname"):
        raise ValueError("names no database")
    return DatabaseUrl(value)


def database_servers(url: str) -> list[str]:
    """Where that database is: names or addresses of its servers; of a socket of this host, `localhost`."""
    from psycopg.conninfo import conninfo_to_dict  # slow to import; most hosts have a file

    parts = conninfo_to_dict(url)
    named = str(parts.get("host") or parts.get("hostaddr") or "")
    return [name for name in named.split(",") if name and not name.startswith("/")] or ["localhost"]


def _host_name(value: object) -> str:
    if not re.fullmatch(r"[a-z0-9]{1,16}", types.required_text(value), re.ASCII):
        raise ValueError("is not a short name")
    return types.required_text(value)


def _bucket_url(value: object) -> str:
    """Take `s3://bucket` or `s3://bucket/prefix`; bucket names as S3 has them."""
    url = types.required_text(value).removesuffix("/")
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*", url, re.ASCII):
        raise ValueError("is not the URL of a bucket")
    return url


class ClusterTable(Table):
    """Which of several hosts this is."""

    host: Annotated[str, PlainValidator(_host_name)] = key("up to 16 small letters and digits such as a")
    journal: FilePath = key("a file", JOURNAL)
    lease_s: float = seconds(4, 120, LEASE_S)


class ObjectsTable(Table):
    """Where recordings and their sealed keys are kept, in place of files."""

    url: Annotated[str, PlainValidator(_bucket_url)] = key("s3://bucket or s3://bucket/prefix")
    endpoint: Annotated[str | None, optional(types.web_url)] = key(
        "the https or http URL of an S3-compatible store; absent: Amazon's", None
    )
    region: Text = key("a region, as the store names it", "")
    credentials_file: OptionalPath = key(
        "a file with aws_access_key_id and aws_secret_access_key, as AWS's own tools have it", None
    )

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self.url.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """What every name in it begins with: empty, or ended by a slash."""
        _, slash, prefix = self.url.removeprefix("s3://").partition("/")
        return prefix + slash

    @property
    def address(self) -> str:
        """The URL of the store: Amazon's has the region in its name."""
        region = f".{self.region}" if self.region else ""
        return self.endpoint or f"https://s3{region}.amazonaws.com"


class EventsTable(Table):
    """Where other programs are told what happened, signed as Standard Webhooks has it."""

    webhook: Annotated[str, PlainValidator(types.web_url)] = key("the https URL that events are posted to")
    secret_file: FilePath = key("a file of secrets, whsec_ and base64, one a line")
    personal: bool = key("true: events have what leads to a person, too", False)
    allow_private: bool = key("true: the receiver may be inside the own network", False)

    @property
    def receiver(self) -> str:
        """The webhook without its path, which may be secret: `https://crm.example.net`."""
        return "/".join(re.split("[/?]", self.webhook)[:3])


def _share(default: Any = ...) -> Any:
    """Declare a key for a share of the calls."""
    return key("a share of the calls, 0 to 1", default, ge=0, le=1, allow_inf_nan=False)


def _database(value: object, info: ValidationInfo) -> Path | DatabaseUrl:
    """Take a file of this host, or the URL of a database that several hosts share."""
    text = types.required_text(value)
    return database_url(text) if "://" in text else path(text, info)


Begin = Literal["bridge", "operator"]
"""When a recording begins: with the conversation, or not before the operator types operators.record_code."""


class SamplingWindow(Table):
    """Times of the week with another share, on the clock of service.timezone; perhaps another beginning."""

    days: Annotated[tuple[int, ...], PlainValidator(types.days)] = key(
        'days of the week such as "mon-fri" or ["mon", "thu"]', "mon-sun"
    )
    hours: Annotated[tuple[Interval, ...], PlainValidator(types.hours)] = key(
        "times such as 09:00-10:00 or 08:30-09:00,16:00-24:00", "00:00-24:00"
    )
    share: float = _share()
    begin: Begin | None = None


class RecordingTable(Table):
    """What is recorded, and where it is stored."""

    enabled: bool = True
    share: float = _share(1.0)
    begin: Begin = "bridge"
    window: tuple[SamplingWindow, ...] = several("tables [[recording.window]]", ())
    justification: Text = key("why all calls are recorded", "")
    directory: FilePath = key("a directory", "recordings")
    format: Literal["flac", "wav"] = "flac"
    recipients: tuple[FilePath, ...] = several("a list of public keys; empty: stored in clear", ())


class RetentionTable(Table):
    """How long and for what recordings are kept."""

    period: Period = key("a period such as 6 months, 26 weeks or 90 days", "6 months")
    justification: Text = key("why recordings are kept longer than 6 months", "")
    receipts_period: Period = key("a period such as 6 months", "6 months")
    analysis_period: Period = key("a period such as 1 year", "1 year")
    erase_after_note: bool = False
    database: Annotated[Path | DatabaseUrl, PlainValidator(_database)] = key(
        "a file, or postgresql://user@host/database", "retention.db"
    )
    database_password_file: OptionalPath = key("a file that holds the database's password", None)
    purposes: tuple[RequiredText, ...] = several(
        "a list of purposes", ("statistics", "quality", "organisation"), least=1
    )
    hold_grounds: tuple[RequiredText, ...] = several("a list of grounds", ("disciplinary", "criminal"))
    timestamp_url: Annotated[str | None, optional(types.web_url)] = key(
        "an https or http URL without user or password; absent: no time stamps", None
    )
    timestamp_ca: OptionalPath = key(
        "a PEM file of the certificates that time stamps are checked against", None
    )


RoleName = Literal["listener", "supervisor", "officer", "administrator"]
ROLES: tuple[RoleName, ...] = get_args(RoleName)
TOKEN_ROLES = (*ROLES, "wall")


def _origin(value: object) -> str:
    """Take an `https:` or `http:` URL that has no path; give it as browsers write an origin (RFC 6454)."""
    scheme, _, rest = types.web_url(value).removesuffix("/").lower().partition("://")
    if re.search(r"[/?]", rest):
        raise ValueError("has a path, where the page has none")
    name, port = re.fullmatch(r"(.*?)(?::(\d+))?", rest, re.ASCII).groups()  # type: ignore[union-attr]
    if name.startswith("["):
        name = f"[{types.host(name.strip('[]'))}]"
    usual = {"https": 443, "http": 80}[scheme]
    return f"{scheme}://{name}" + (f":{int(port)}" if port and int(port) != usual else "")


def is_here(url: str) -> bool:
    """Tell whether the host of a URL is this machine itself, whatever the network."""
    name = re.sub(r"^https?://|(:\d+)?([/?].*)?$", "", url).strip("[]")
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _issuer(value: object) -> str:
    """Take the URL of an issuer: `https:`, or `http:` on this machine; it is compared to the letter."""
    url = types.web_url(value)
    if url.startswith("http:") and not is_here(url):
        raise ValueError("is not an https URL")
    return url


class WebTable(Table):
    """Where `sipagent web` answers, behind what, and whose word counts at the login."""

    listen: Annotated[types.HostPort | None, optional(types.listen)] = key(
        "address:port such as 127.0.0.1:8443; absent: no page", None
    )
    url: Annotated[str | None, optional(_origin)] = key(
        "the page's https URL as people type it, without a path; absent: from listen", None
    )
    certificate: OptionalPath = key("a PEM file: the certificate and those that lead to its root", None)
    private_key: OptionalPath = key("a PEM file: the certificate's private key", None)
    trusted_proxies: tuple[Annotated[types.Network, PlainValidator(types.network)], ...] = several(
        "a list of addresses or networks such as 192.0.2.0/24; empty: no proxy", ()
    )
    logo: OptionalPath = key("an SVG or PNG file of at most 50 kB; absent: the name alone", None)
    colour: Annotated[str | None, optional(types.colour)] = key(
        "a dark colour such as #1d4f91, with a contrast of at least 4.5; absent: this one", None
    )
    session_minutes: int = key("minutes without a click, 1 to 720", 30, ge=1, le=720)
    oidc_issuer: Annotated[str | None, optional(_issuer)] = key(
        "the https URL of an OpenID Connect issuer; absent: accounts of our own", None
    )
    oidc_client_id: Text = key("the client's name with the issuer", "")
    oidc_client_secret_file: OptionalPath = key("a file that holds the client's secret", None)
    oidc_roles: dict[RequiredText, RoleName] = key(
        'a table such as { "ecoute-dpo" = "officer" }; roles: listener, supervisor, officer, administrator',
        {},
    )
    oidc_email_proved: bool = key("true: the issuer gives only addresses that it has proved", False)

    @property
    def origin(self) -> str:
        """What every address of the page begins with, as browsers send it: `https://ecoute.example.net`.

        Empty where there is no page.
        """
        if self.url is not None or self.listen is None:
            return self.url or ""
        scheme = "http" if self.certificate is None else "https"
        return _origin(f"{scheme}://{self.listen}")


VOICES_MOST_DAYS = 180  # six months, the longest that recordings are kept
VOICES_FOLDER = "voices"


class EnrolTable(Table):
    """Who may call the extension where voices are lent, and what becomes of them."""

    extension: Number = key("the number that colleagues dial such as 900")
    colleagues: dict[Number, RequiredText] = key('a table such as { "201" = "Ann Martin" }', min_length=1)
    folder: FilePath = key("a folder", VOICES_FOLDER)
    keep_days: int = key(
        Reason("days, 1 to {0}", VOICES_MOST_DAYS), VOICES_MOST_DAYS, ge=1, le=VOICES_MOST_DAYS
    )
    prompts: OptionalPath = key("a folder of prompts that replace the shipped ones", None)


def folder_name(text: str) -> str:
    """How a name or a phrase is called on disk: `ann_martin`; empty where it has no letter of ASCII."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
