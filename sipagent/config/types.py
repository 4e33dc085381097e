"""Values of config.toml, and the vocabulary in which `tables` declares keys.

    text, sip_uri, period, …   parsers of single values: text in, checked plain value out
    Text, Uri, Period, …       the same as types of pydantic, which check themselves
    key(), seconds(), …        declare a key: what it takes, in words, and its default

Each parser raises ValueError whose text continues the sentence "'the value' ...": `is not host:port`.
They are pure and know no key; `tables` says which key uses which.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo

from retention.texts import Reason
from sipagent.config.errors import plain_spaces
from sipagent.config.hours import DAYS, Interval, Week, parse_closure, parse_date, parse_intervals

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

URI_LIMIT = 255  # bytes; the engine's PJSIP_MAX_URL_SIZE is 256 including its end
HEADER_LIMIT = 200
PERIOD_YEARS = 100  # with more, a due date may be outside the calendar
CODECS = ("PCMA", "PCMU", "G722", "GSM")  # never speex: its parser in the engine's wheel overflows

# RFC 3261 section 25.1, narrowed: no password, no headers, nothing that could end a line or a quoted string.
_USER = r"(?:[A-Za-z0-9\-_.!~*'&=+$,]|%[2-6][0-9A-Fa-f]|%7[0-9A-Ea-e])+"
_HOST = r"[A-Za-z0-9\-.]+|\[[0-9A-Fa-f:.]+\]"
_PARAMETER = r";[A-Za-z0-9\-_.!~*+%]+(?:=[A-Za-z0-9\-_.!~*+%\[\]:]+)?"
_SIP_URI = re.compile(
    rf"sip:(?:(?P<user>{_USER})@)?(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?(?P<parameters>(?:{_PARAMETER})*)",
    re.ASCII,
)
_WEB_URL = re.compile(
    rf"https?://(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?(?:[/?][A-Za-z0-9\-._~!$&'()*+,;=:@%/?]{{0,2000}})?",
    re.ASCII,
)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?", re.ASCII)
_PERIOD = re.compile(r"([1-9]\d{0,3}) (day|week|month|year)s?", re.ASCII)


class HostPort(NamedTuple):
    """Where to listen. `host` is an IP address without brackets."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def is_any(self) -> bool:
        """Tell whether it is every address of this machine, and so none that anybody could type."""
        return ipaddress.ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class PortRange(NamedTuple):
    """UDP ports from `first` to `last`, both included; RTP takes the even ones (RFC 3550 section 11)."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


class Holidays(NamedTuple):
    """Public holidays of a country (and part of it, by ISO 3166-2), or dates; or neither."""

    country: str | None = None
    part: str | None = None
    dates: tuple[date, ...] = ()

    def named(self, language: str) -> Mapping[date, str]:
        """Give the name of each, in `language` or else the country's own; empty for a date."""
        if self.country is None:
            return dict.fromkeys(self.dates, "")
        import holidays  # slow to import

        known = holidays.country_holidays(self.country, subdiv=self.part)
        spoken = [name for name in known.supported_languages if name.startswith(language)]
        language_of_names = spoken[0] if spoken else known.default_language
        return holidays.country_holidays(self.country, subdiv=self.part, language=language_of_names)


def text(value: object) -> str:
    """Take text of one line without control characters, its spaces as plain ones; other parsers of text also
    start with this."""
    if not isinstance(value, str):
        raise ValueError("is not a text in quotes")
    taken = plain_spaces(value)
    if not taken.isprintable():
        raise ValueError("has control or invisible characters")
    return taken


def required_text(value: object) -> str:
    """Take text that is not empty."""
    if not text(value).strip():
        raise ValueError("is empty")
    return text(value).strip()


def host(value: object) -> str:
    """Take a host name (RFC 1123) or an IP address; IPv6 without brackets."""
    name = required_text(value)
    if ":" in name or re.fullmatch(r"[\d.]+", name, re.ASCII):
        return str(_ip(name))
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.removesuffix(".").split(".")):
        raise ValueError("is not a host name or an IP address")
    return name


def server(value: object) -> str:
    """Take a host name, or one with its port, as an address of the web has it: `certificates.example.net`."""
    name, colon, digits = required_text(value).lower().partition(":")
    if colon and not re.fullmatch(r"\d{1,5}", digits, re.ASCII):
        raise ValueError("is not a host name, nor one with a port")
    return f"{host(name)}:{_port(digits)}" if colon else host(name)


def address(value: object) -> str:
    """Take an IP address, IPv6 without brackets."""
    return str(_ip(required_text(value)))


def _ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(name)
    except ValueError as error:
        raise ValueError("is not an IP address") from error
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError("is an IPv6 address with a zone")
    return address


def _port(digits: str) -> int:
    port = int(digits)
    if not 1 <= port <= 65535:
        raise ValueError("has a port outside 1 to 65535")
    return port


def sip_uri(value: object) -> str:
    """Take a `sip:` URI, checked strictly: a malformed one handed to the engine ends the process."""
    uri = required_text(value)
    found = _SIP_URI.fullmatch(uri)
    if found is None or len(uri) > URI_LIMIT:
        raise ValueError("is not a SIP URI")
    host(found["host"].strip("[]"))
    if found["port"]:
        _port(found["port"])
    if re.search(r";transport=(?!(udp|tcp|tls)(;|$))", uri, re.IGNORECASE):
        raise ValueError("asks for another transport than udp, tcp or tls")
    return uri


def sip_server(value: object) -> str:
    """Take a `sip:` URI of a server: no user part."""
    if "@" in sip_uri(value):
        raise ValueError("names a user where a server is meant")
    return sip_uri(value)


def uri_user(uri: str) -> str | None:
    """Give the user part of a checked URI."""
    return found["user"] if (found := _SIP_URI.fullmatch(uri)) else None


def uri_host(uri: str) -> tuple[str, int | None]:
    """Give host (IPv6 without brackets) and port of a checked URI."""
    found = _SIP_URI.fullmatch(uri)
    if found is None:
        raise ValueError("is not a SIP URI")
    return found["host"].strip("[]"), int(found["port"]) if found["port"] else None


def web_url(value: object) -> str:
    """Take an `https:` or `http:` URL (RFC 3986); without a password, since every error would show it."""
    url = required_text(value)
    found = _WEB_URL.fullmatch(url)
    if found is None:
        raise ValueError("is not an https or http URL")
    host(found["host"].strip("[]"))
    if found["port"]:
        _port(found["port"])
    return url


def is_by_tls(uri: str) -> bool:
    """Whether a checked URI asks for TLS (RFC 3261 section 26.2.2: `sips` would want it end to end)."""
    return ";transport=tls" in uri.lower()


def listen(value: object) -> HostPort:
    """Take `host:port`; the host is an IP address of this machine, IPv6 in brackets."""
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):(\d{1,5})", required_text(value), re.ASCII)
    if found is None:
        raise ValueError("is not host:port")
    return HostPort(str(_ip(found[1] or found[2])), _port(found[3]))


def listen_ipv6(value: object) -> HostPort:
    """Take `[address]:port`, of IPv6."""
    found = listen(value)
    if ":" not in found.host:
        raise ValueError("is not an address of IPv6")
    return found


def address_ipv6(value: object) -> str:
    """Take an IPv6 address, without brackets."""
    if ":" not in (found := address(value)):
        raise ValueError("is not an address of IPv6")
    return found


def port_range(value: object) -> PortRange:
    """Take `first-last` with an even first port."""
    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", required_text(value), re.ASCII)
    if found is None:
        raise ValueError("is not first-last")
    ports = PortRange(_port(found[1]), _port(found[2]))
    if ports.last <= ports.first:  # first: if reversed, the other errors would name the wrong port
        raise ValueError("ends before it begins")
    if ports.first < 1024:
        raise ValueError("begins below 1024")
    if ports.first % 2:
        raise ValueError("begins with an odd port")
    return ports


def network(value: object) -> Network:
    """Take an address or a network, `192.0.2.0/24`."""
    try:
        return ipaddress.ip_network(required_text(value))
    except ValueError as error:
        problem = (
            Reason("has bits set beyond its prefix")
            if "host bits" in str(error)
            else Reason("is not a network")
        )
        raise ValueError(problem) from error


def codec(value: object) -> str:
    """Take a codec that the agent may offer."""
    if required_text(value).upper() not in CODECS:
        raise ValueError("is not a codec of the agent")
    return required_text(value).upper()


def called_number(value: object) -> str:
    """Take a number of the service: E.164, or a short internal one."""
    if not re.fullmatch(r"\+[1-9]\d{6,14}|\d{2,6}", required_text(value), re.ASCII):
        raise ValueError("is not an E.164 number")
    return required_text(value)


def digit(value: object) -> str:
    """Take one key of a telephone."""
    if not re.fullmatch(r"[0-9*#A-D]", text(value), re.ASCII):
        raise ValueError("is not one key of a telephone")
    return text(value)


def code(value: object) -> str:
    """Take a sequence of keys."""
    if not re.fullmatch(r"[0-9*#A-D]{1,8}", text(value), re.ASCII):
        raise ValueError("is not a sequence of telephone keys")
    return text(value)


def header_name(value: object) -> str:
    """Take the name of a user's own header, or nothing; no standard one (RFC 3261 section 25.1)."""
    name = text(value).strip()
    if name and not re.fullmatch(r"X-[A-Za-z0-9.!%*_+`'~-]{1,60}", name, re.ASCII):
        raise ValueError("is not a header's name that begins with X-")
    return name


def header_value(value: object) -> str:
    """Take the value of a header, or nothing."""
    line = text(value).strip()
    if not line.isascii() or len(line) > HEADER_LIMIT:
        raise ValueError(Reason("is not a line of up to {0} ASCII characters", HEADER_LIMIT))
    return line


def language(value: object) -> str:
    """Take a language tag of two or three letters (ISO 639)."""
    if not re.fullmatch(r"[a-z]{2,3}", text(value), re.ASCII):
        raise ValueError("is not a language of two or three small letters")
    return text(value)


def timezone(value: object) -> ZoneInfo:
    """Take a name of the time zone database."""
    try:
        return ZoneInfo(required_text(value))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: `Europe` is a directory
        raise ValueError("is not a time zone") from error


def country(value: object) -> str:
    """Take an ISO 3166 country whose numbering plan is known."""
    if text(value) not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("is not a country of two capital letters")
    return text(value)


PAPER, NIGHT = "#fdeceb", "#2a3543"  # of the page's grounds the darkest light one, the lightest dark one
READABLE = 4.5  # contrast of text, WCAG 2.2, 1.4.3


def colour(value: object) -> str:
    """Take a colour `#1d4f91` in which text can be read on each light ground of the page."""
    found = text(value).lower()
    if not re.fullmatch("#[0-9a-f]{6}", found):
        raise ValueError("is not a colour")
    if (reached := contrast(found, PAPER)) < READABLE:
        raise ValueError(Reason("is too light to be read (contrast {0:.1f})", reached))
    return found


def at_night(colour: str) -> str:
    """The colour, with as much white as lets it be read on each dark ground."""
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    lighter = (
        "#" + "".join(f"{part + (255 - part) * share // 20:02x}" for part in parts) for share in range(21)
    )
    return next(one for one in lighter if contrast(one, NIGHT) >= READABLE)


def contrast(one: str, other: str) -> float:
    """1 to 21, of two colours `#1d4f91` (WCAG 2.2, contrast ratio)."""
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def period(value: object) -> str:
    """Take a calendar period, `6 months`."""
    if not _PERIOD.fullmatch(required_text(value)):
        raise ValueError("is not a period")
    if outlasts(required_text(value), months=12 * PERIOD_YEARS, days=365 * PERIOD_YEARS):
        raise ValueError(Reason("is longer than {0} years", PERIOD_YEARS))
    return required_text(value)


def outlasts(period_text: str, *, months: int, days: int) -> bool:
    """Tell whether a checked period can be longer than `months` months, which have at least `days` days."""
    found = _PERIOD.fullmatch(period_text)
    if found is None:
        raise ValueError("is not a period")
    length = int(found[1])
    if found[2] in ("day", "week"):
        return length * (7 if found[2] == "week" else 1) > days
    return length * (12 if found[2] == "year" else 1) > months


def week(value: object) -> Week | None:
    """Take a table of days, `mon = "08:30-12:00,13:30-17:30"`; a missing day is closed."""
    if not isinstance(value, dict) or not value:
        raise ValueError("is not a table of days")
    if unknown := [day for day in value if day not in DAYS]:
        raise ValueError(Reason("has the day {0!r}", unknown[0]))
    if not any(days := tuple(_hours(day, value.get(day, "")) for day in DAYS)):
        raise ValueError("never opens")
    return days


def _hours(day: str, value: object) -> tuple[Interval, ...]:
    try:
        return parse_intervals(text(value))
    except ValueError as error:
        raise ValueError(Reason("{0} {1}", day, error)) from error


def days(value: object) -> tuple[int, ...]:
    """Take days of the week, `mon-fri` or `["mon", "thu-sat"]`, as numbers from Monday, 0, in order."""
    listed = value if isinstance(value, list) else [value]
    found = [day for item in listed for day in _days(text(item))]
    if not found:
        raise ValueError("names no day")
    if len(found) > len({*found}):
        raise ValueError("names a day twice")
    return tuple(sorted(found))


def _days(name: str) -> range:
    first, dash, last = name.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        said = "has {0!r}, which is no day and no days" if dash else "has {0!r}, which is no day"
        raise ValueError(Reason(said, name))
    start, end = DAYS.index(first), DAYS.index(last if dash else first)
    if end < start:
        raise ValueError(Reason("has {0!r}, which ends before it starts", name))
    return range(start, end + 1)


def hours(value: object) -> tuple[Interval, ...]:
    """Take times of a day, `09:00-10:00,14:00-15:00`."""
    if not (intervals := parse_intervals(text(value))):
        raise ValueError("is empty")
    return intervals


def public_holidays(value: object) -> Holidays:
    """Take a country (`FR`, `FR-57`) or a list of dates."""
    if isinstance(value, list):
        return Holidays(dates=tuple(_date(item) for item in value))
    import holidays  # slow to import

    name, _, part = required_text(value).partition("-")
    try:
        if name not in holidays.list_supported_countries():  # any name of that module would be called
            raise NotImplementedError
        holidays.country_holidays(name, subdiv=part or None)
    except NotImplementedError as error:
        raise ValueError("is not a country whose holidays are known") from error
    return Holidays(country=name, part=part or None)


def _date(value: object) -> date:
    if type(value) is date:  # TOML has its own dates; a datetime would be one, too
        return value
    return parse_date(text(value))


def closure(value: object) -> tuple[date, date]:
    """Take `2026-12-24/2027-01-02`, both days included, or one date."""
    if type(value) is date:
        return value, value
    return parse_closure(text(value))


Text = Annotated[str, PlainValidator(text)]
RequiredText = Annotated[str, PlainValidator(required_text)]
Uri = Annotated[str, PlainValidator(sip_uri)]
Digit = Annotated[str, PlainValidator(digit)]
Code = Annotated[str, PlainValidator(code)]
Period = Annotated[str, PlainValidator(period)]
Number = Annotated[str, PlainValidator(called_number)]
HeaderName = Annotated[str, PlainValidator(header_name)]
HeaderValue = Annotated[str, PlainValidator(header_value)]
Language = Annotated[str, PlainValidator(language)]


def optional(parse: Any) -> PlainValidator:
    """Take an empty text as a missing key, as the documentation says."""
    return PlainValidator(lambda value: None if value is None or value == "" else parse(value))


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a file before its keys are read: pydantic's validation context."""

    file: Path  # as it was named
    base: Path  # absolute; paths are relative to it
    language: str  # the language of the default prompts
    languages: tuple[str, ...]  # that language, and those of the other notices
    opt_in: bool  # their notice asks for a yes


def known(info: ValidationInfo) -> Known:
    assert isinstance(info.context, Known), "a configuration is made by sipagent.config only"
    return info.context


def path(value: object, info: ValidationInfo) -> Path:
    return known(info).base / required_text(value)


def _optional_path(value: object, info: ValidationInfo) -> Path | None:
    return None if value is None or value == "" else path(value, info)


FilePath = Annotated[Path, PlainValidator(path)]
OptionalPath = Annotated[Path | None, PlainValidator(_optional_path)]
OptionalServer = Annotated[str | None, optional(sip_server)]


def key(accepted: str, default: Any = ..., **limits: Any) -> Any:
    """Declare a key: what it takes, in words, and its default in the words of the file."""
    return Field(default, description=accepted, validate_default=default is not ..., **limits)


def seconds(lowest: float, highest: float, default: float) -> Any:
    """Declare a key that takes seconds."""
    return key(
        Reason("seconds, {0:g} to {1:g}", lowest, highest),
        default,
        ge=lowest,
        le=highest,
        allow_inf_nan=False,
    )


def several(accepted: str, default: Any = ..., least: int = 0) -> Any:
    """Declare a key that takes a list."""
    return key(accepted, default, min_length=least, strict=False)


class Table(BaseModel):
    """A table of the file: no unknown key, no conversion of types, no change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)
