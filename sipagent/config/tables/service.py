"""Who answers, when, and how many: [service], [hours], [capacity], [metrics]."""

from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PlainValidator

from sipagent.config import types
from sipagent.config.hours import Week
from sipagent.config.keys import Language, RequiredText, Table, Text, key, optional, seconds, several


class ServiceTable(Table):
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


class CapacityTable(Table):
    """How many callers at a time."""

    calls: int = key("a number of simultaneous callers, 1 to 10000", 1, ge=1, le=10_000)
    calls_per_process: int | None = key(
        "how many calls one process takes, 1 to 10000; absent: by the engine", None, ge=1, le=10_000
    )
    full_status: Literal[486, 503] = key("486 | 503", 503)
    media_timeout_s: float = seconds(1, 3600, 30)


class MetricsTable(Table):
    """Numbers for Prometheus."""

    listen: Annotated[types.HostPort | None, optional(types.listen)] = key(
        "address:port such as 127.0.0.1:9464; absent: none", None
    )
