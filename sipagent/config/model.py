"""config.toml as frozen models: one class a table, one attribute a key, under the names of the file.

Every key says in `description` what it takes; the error for a wrong value ends with it. Relations between
keys are in `rules`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, PrivateAttr, ValidationInfo
from pydantic_core import PydanticCustomError

from retention.storage.places import Places
from sipagent.config import types
from sipagent.config.errors import ConfigError
from sipagent.config.hours import Interval, Schedule, Week
from sipagent.config.keys import (
    Code,
    Digit,
    FilePath,
    HeaderName,
    HeaderValue,
    Known,
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
from sipagent.config.refusal_words import words_of
from sipagent.config.sampling import Shares, Window

PASSWORD_LIMIT = 1024  # bytes read of a password file
DEFAULT_ENGINE = "none"  # of refusal.engine; the default notice follows it


@dataclass(frozen=True, slots=True)
class Login:
    """Digest credentials; no representation shows the password."""

    username: str
    password: str = field(repr=False)


class Credentials(Table):
    """The keys that name a login: a user, and one place to read the password from."""

    username: Text = key("a user name", "")
    password_file: OptionalPath = key("a file that holds the password", None)
    password_env: Text = key("the name of an environment variable", "")


class Service(Table):
    """Who answers, and on what legal basis."""

    name: RequiredText = key("the name of the service, as the notice says it")
    controller: RequiredText = key("who is responsible for the recordings (GDPR article 4(7))")
    controller_contact: Text = key("how to reach the controller", "")
    dpo_contact: Text = key("how to reach the data protection officer", "")
    legal_basis: Text = key("the legal basis, GDPR article 6(1)", "")
    language: Language = key("the language of [prompts], such as fr", "fr")
    timezone: Annotated[ZoneInfo, PlainValidator(types.timezone)] = key(
        "a time zone such as Europe/Paris", "Europe/Paris"
    )
    country: Annotated[str, PlainValidator(types.country)] = key("an ISO 3166 country such as FR", "FR")


class Trunk(Credentials):
    """Where calls come from."""

    uri: Uri = key("a SIP URI such as sip:agent@trunk.example.net")
    registrar: OptionalServer = key("a SIP URI such as sip:trunk.example.net; absent: no registration", None)
    realm: Text = key("the registrar's realm; empty: taken from its first challenge", "")
    transport: Literal["udp", "tcp", "tls"] = key("udp | tcp | tls", "udp")
    listen: Annotated[types.HostPort, PlainValidator(types.listen)] = key(
        "address:port such as 127.0.0.1:5060, IPv6 as [::1]:5060", "127.0.0.1:5060"
    )
    public_address: Annotated[str | None, optional(types.host)] = key(
        "a host name or an IP address; empty: that of listen", None
    )
    rtp_ports: Annotated[types.PortRange, PlainValidator(types.port_range)] = key(
        "first-last such as 10000-10999, from 1024 on, the first one even", "10000-10999"
    )
    numbers: tuple[Number, ...] = several("a list of numbers such as +33323063006; empty: any", ())
    allowed_sources: tuple[Annotated[types.Network, PlainValidator(types.network)], ...] = several(
        "a list of addresses or networks such as 192.0.2.0/24; empty: the registrar's", ()
    )
    codecs: tuple[Annotated[str, PlainValidator(types.codec)], ...] = several(
        "a list of " + ", ".join(types.CODECS), ("PCMA", "PCMU", "G722"), least=1
    )
    srtp: Literal["off", "optional", "required"] = key("off | optional | required", "off")


class Hours(Table):
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


PROMPT = "a WAV file; its words lie in a .txt of the same name"


class PromptFiles(Table):
    """The prompts of another language; a missing one is that of the default language."""

    notice: OptionalPath = key(PROMPT, None)
    welcome: OptionalPath = key(PROMPT, None)
    refused: OptionalPath = key(PROMPT, None)
    confirm: OptionalPath = key(PROMPT, None)
    closed: OptionalPath = key(PROMPT, None)
    unavailable: OptionalPath = key(PROMPT, None)
    hold_music: OptionalPath = key(PROMPT, None)
    please_hold: OptionalPath = key(PROMPT, None)


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
    choose: Path | None = None


def _spoken(value: object, info: ValidationInfo) -> Path:
    """Default to the file that `init` copies; the notice is the one for the configured ways to refuse or
    accept."""
    if value is not None:
        return path(value, info)
    rules = known(info)
    name = f"{info.field_name}"
    if name == "notice":
        name += "_opt_in" * rules.opt_in + "_voice" * rules.voice
    return path(f"prompts/{rules.language}/{name}.wav", info)


def _language_table(value: object) -> object:
    if not isinstance(value, dict):  # a misspelt key, not the table of a language
        raise PydanticCustomError("extra_forbidden", "unknown key")
    return value


Spoken = Annotated[Path, PlainValidator(_spoken)]


class Prompts(Table):
    """The prompts of the default language; `[prompts.en]` and the like override some for another."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[PromptFiles, BeforeValidator(_language_table)]]

    notice: Spoken = key(PROMPT, None)
    welcome: Spoken = key(PROMPT, None)
    refused: Spoken = key(PROMPT, None)
    confirm: Spoken = key(PROMPT, None)
    closed: Spoken = key(PROMPT, None)
    unavailable: Spoken = key(PROMPT, None)
    hold_music: FilePath = key(PROMPT, "prompts/hold.wav")
    please_hold: OptionalPath = key(PROMPT, None)
    languages: dict[Number, Language] = key('a table such as { "+33323063007" = "en" }', {})
    choose: OptionalPath = key(PROMPT, None)
    choices: dict[Digit, Language] = key('a table such as { "2" = "en" }', {})

    @property
    def overrides(self) -> Mapping[str, PromptFiles]:
        """The tables of other languages, by language."""
        return self.__pydantic_extra__


def _words(value: object, info: ValidationInfo) -> object:
    """Default to the words of the languages of the notices."""
    return words_of(known(info).languages, str(info.field_name)) if value is None else value


Words = Annotated[tuple[RequiredText, ...], BeforeValidator(_words)]


class Refusal(Table):
    """How a caller says no, or yes."""

    mode: Literal["objection", "opt_in"] = key("objection | opt_in", "objection")
    digit: Digit = key("one key of a telephone: 0-9, * or #", "9")
    accept_digit: Digit = key("one key of a telephone: 0-9, * or #", "1")
    engine: Literal["embedding", "vosk", "none"] = key("embedding | vosk | none", DEFAULT_ENGINE)
    vosk_model: OptionalPath = key("the folder of a Vosk model", None)
    heads: FilePath = key("a folder of heads that `sipagent train-keyword` made", "heads")
    keywords: Words = several("a list of words", None)
    accept_keywords: Words = several("a list of words", None)
    window_s: float = seconds(0.1, 60, 5.0)
    in_call: Literal["key", "key+voice"] = key("key | key+voice", "key")
    in_call_keywords: Words = several("a list of words", None)


class Operators(Credentials):
    """Who answers the callers."""

    extensions: tuple[Uri, ...] = several("a list of SIP URIs such as sip:201@pbx.example.net", least=1)
    outbound_proxy: OptionalServer = key("a SIP URI such as sip:pbx.example.net;lr", None)
    strategy: Literal["sequential", "simultaneous", "round_robin"] = key(
        "sequential | simultaneous | round_robin", "sequential"
    )
    ring_s: float = seconds(1, 300, 20)
    max_wait_s: float = seconds(0, 3600, 120)
    wrap_up_s: float = seconds(0, 3600, 0)
    alert_info_recorded: HeaderValue = key("the value of an Alert-Info header; empty: none", "")
    alert_info_not_recorded: HeaderValue = key("the value of an Alert-Info header; empty: none", "")
    recording_header: HeaderName = key("the name of a header such as X-Recording; empty: none", "")
    transfer: Literal["bridge", "refer"] = key("bridge | refer", "bridge")
    refer_targets: tuple[Uri, ...] = several("a list of SIP URIs", ())
    transfer_targets: tuple[Uri, ...] = several("a list of SIP URIs; empty: the extensions", ())
    stop_code: Code = key("1 to 8 keys of a telephone such as *5", "*5")
    stop_erases: bool = key("true | false", True)
    pause_code: Code = key("1 to 8 keys of a telephone such as *6", "*6")
    flag_code: Code = key("1 to 8 keys of a telephone such as *7", "*7")


def _share(default: Any = ...) -> Any:
    """Declare a key for a share of the calls."""
    return key("a share of the calls, 0 to 1", default, ge=0, le=1, allow_inf_nan=False)


class SamplingWindow(Table):
    """Times of the week with another share, on the clock of service.timezone."""

    days: Annotated[tuple[int, ...], PlainValidator(types.days)] = key(
        'days of the week such as "mon-fri" or ["mon", "thu"]', "mon-sun"
    )
    hours: Annotated[tuple[Interval, ...], PlainValidator(types.hours)] = key(
        "times such as 09:00-10:00 or 08:30-09:00,16:00-24:00", "00:00-24:00"
    )
    share: float = _share()


class Recording(Table):
    """What is recorded, and where it is stored."""

    enabled: bool = key("true | false", True)
    share: float = _share(1.0)
    window: tuple[SamplingWindow, ...] = several("tables [[recording.window]]", ())
    justification: Text = key("why all calls are recorded", "")
    directory: FilePath = key("a directory", "recordings")
    format: Literal["flac", "wav"] = key("flac | wav", "flac")
    recipients: tuple[FilePath, ...] = several("a list of public keys; empty: stored in clear", ())


class Capacity(Table):
    """How many callers at a time."""

    calls: int = key("a number of simultaneous callers, 1 to 10000", 1, ge=1, le=10_000)
    full_status: Literal[486, 503] = key("486 | 503", 503)
    media_timeout_s: float = seconds(1, 3600, 30)


class Edge(Table):
    """Kamailio, which stands between the network and the processes that carry the calls."""

    start: bool = key("true | false", True)
    worker_ports: Annotated[types.PortRange, PlainValidator(types.port_range)] = key(
        "first-last such as 7000-7999, from 1024 on, the first one even", "7000-7999"
    )
    invites_per_s: int = key("INVITEs a second that one process is given, 1 to 1000", 12, ge=1, le=1000)
    tls_listen: Annotated[types.HostPort | None, optional(types.listen)] = key(
        "address:port such as 0.0.0.0:5061; absent: TLS only where trunk.transport is tls", None
    )
    certificate: OptionalPath = key("a PEM file: the certificate and those that lead to its root", None)
    private_key: OptionalPath = key("a PEM file: the certificate's private key", None)
    ca: OptionalPath = key(
        "a PEM file of the roots that others' certificates are checked against; absent: the system's", None
    )


class Metrics(Table):
    """Numbers for Prometheus."""

    listen: Annotated[types.HostPort | None, optional(types.listen)] = key(
        "address:port such as 127.0.0.1:9464; absent: none", None
    )


class Retention(Table):
    """How long and for what recordings are kept."""

    period: Period = key("a period such as 6 months, 26 weeks or 90 days", "6 months")
    justification: Text = key("why recordings are kept longer than 6 months", "")
    receipts_period: Period = key("a period such as 6 months", "6 months")
    analysis_period: Period = key("a period such as 1 year", "1 year")
    erase_after_note: bool = key("true | false", False)
    database: FilePath = key("a file", "retention.db")
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


class Config(Table):
    """The whole file. `sipagent.config.load.load` makes it; nothing changes it afterwards."""

    service: Service
    trunk: Trunk
    hours: Hours | None = None
    prompts: Prompts = key("a table", {})
    refusal: Refusal = key("a table", {})
    operators: Operators
    recording: Recording = key("a table", {})
    capacity: Capacity = key("a table", {})
    edge: Edge = key("a table", {})
    metrics: Metrics = key("a table", {})
    retention: Retention = key("a table", {})
    _file: Path = PrivateAttr()
    _base: Path = PrivateAttr()

    def model_post_init(self, context: Known) -> None:
        """Remember where the file lies."""
        self._file, self._base = context.file, context.base

    @property
    def file(self) -> Path:
        """The file that was read, as it was named."""
        return self._file

    @property
    def base(self) -> Path:
        """The directory that paths are relative to, absolute."""
        return self._base

    @property
    def places(self) -> Places:
        """The places of everything that is kept beside the database."""
        return Places(self.retention.database)

    def prompts_for(self, called: str | None) -> PromptSet:
        """Give the prompts for a dialled number (E.164): its language's, and the default's for the others."""
        return self._prompts_in(self.prompts.languages.get(called or "", self.service.language))

    def prompt_sets(self) -> tuple[PromptSet, ...]:
        """Give the prompts of every language in use, the default one first; only that one has `choose`."""
        others = [*self.prompts.languages.values(), *self.prompts.choices.values()]
        first, *rest = (self._prompts_in(one) for one in dict.fromkeys([self.service.language, *others]))
        return (replace(first, choose=self.prompts.choose), *rest)

    def _prompts_in(self, language: str) -> PromptSet:
        override = self.prompts.overrides.get(language, PromptFiles())
        names = PromptFiles.model_fields
        return PromptSet(
            language=language,
            **{name: getattr(override, name) or getattr(self.prompts, name) for name in names},
        )

    def schedule(self) -> Schedule:
        """Give the opening hours; without `[hours]` always open."""
        if self.hours is None:
            return Schedule(self.service.timezone)
        days = self.hours.holidays.named(self.service.language)
        return Schedule(self.service.timezone, self.hours.week, days, self.hours.closed)

    def shares(self) -> Shares:
        """Give the share of calls that is drawn, by the time of the week."""
        recording = self.recording
        windows = tuple(Window(one.days, one.hours, one.share) for one in recording.window)
        return Shares(self.service.timezone, recording.share, windows)

    def trunk_login(self, environ: Mapping[str, str] = os.environ) -> Login | None:
        """Read the trunk's credentials; None without a user name. Raises ConfigError."""
        return self._login("trunk", self.trunk, environ)

    def operator_login(self, environ: Mapping[str, str] = os.environ) -> Login | None:
        """Read what the operators' PBX asks for, by default the trunk's. Raises ConfigError."""
        return self._login("operators", self.operators, environ) or self.trunk_login(environ)

    def _login(self, table: str, where: Credentials, environ: Mapping[str, str]) -> Login | None:
        if not where.username:
            return None
        if where.password_file is None:
            source = f"{table}.password_env"
            password = environ.get(where.password_env, "")
        else:
            source = f"{table}.password_file"
            password = self._password_of(where.password_file, source)
        if not password:
            raise ConfigError(self.file, source, "holds no password")
        if not password.isprintable():
            raise ConfigError(self.file, source, "holds more than one line or control characters")
        return Login(where.username, password)

    def _password_of(self, path: Path, source: str) -> str:
        try:
            with path.open("rb") as file:
                return file.read(PASSWORD_LIMIT).decode().rstrip("\r\n")
        except OSError as error:
            raise ConfigError(self.file, source, f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(self.file, source, f"{path} is not UTF-8 text") from error
