"""What is recorded, and how long it is kept: [recording], [retention]."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import PlainValidator, ValidationInfo

from sipagent.config import types
from sipagent.config.hours import Interval
from sipagent.config.keys import (
    FilePath,
    OptionalPath,
    Period,
    RequiredText,
    Table,
    Text,
    key,
    optional,
    path,
    several,
)
from sipagent.config.tables.cluster import DatabaseUrl, database_url


def _share(default: Any = ...) -> Any:
    """Declare a key for a share of the calls."""
    return key("a share of the calls, 0 to 1", default, ge=0, le=1, allow_inf_nan=False)


def _database(value: object, info: ValidationInfo) -> Path | DatabaseUrl:
    """Take a file of this host, or the URL of a database that several hosts share."""
    text = types.required_text(value)
    return database_url(text) if "://" in text else path(text, info)


class SamplingWindow(Table):
    """Times of the week with another share, on the clock of service.timezone."""

    days: Annotated[tuple[int, ...], PlainValidator(types.days)] = key(
        'days of the week such as "mon-fri" or ["mon", "thu"]', "mon-sun"
    )
    hours: Annotated[tuple[Interval, ...], PlainValidator(types.hours)] = key(
        "times such as 09:00-10:00 or 08:30-09:00,16:00-24:00", "00:00-24:00"
    )
    share: float = _share()


class RecordingTable(Table):
    """What is recorded, and where it is stored."""

    enabled: bool = key("true | false", True)
    share: float = _share(1.0)
    window: tuple[SamplingWindow, ...] = several("tables [[recording.window]]", ())
    justification: Text = key("why all calls are recorded", "")
    directory: FilePath = key("a directory", "recordings")
    format: Literal["flac", "wav"] = key("flac | wav", "flac")
    recipients: tuple[FilePath, ...] = several("a list of public keys; empty: stored in clear", ())


class RetentionTable(Table):
    """How long and for what recordings are kept."""

    period: Period = key("a period such as 6 months, 26 weeks or 90 days", "6 months")
    justification: Text = key("why recordings are kept longer than 6 months", "")
    receipts_period: Period = key("a period such as 6 months", "6 months")
    analysis_period: Period = key("a period such as 1 year", "1 year")
    erase_after_note: bool = key("true | false", False)
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
