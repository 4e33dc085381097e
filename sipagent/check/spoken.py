"""Whether what the prompts say of the service is true: its name, and when it is open."""

from collections.abc import Iterator
from zoneinfo import available_timezones

from sipagent.config.finding import Finding, error, ok, warning
from sipagent.config.load import Config, Holidays
from sipagent.notice import words as heard
from sipagent.notice.spoken_hours import clocks, differences, told_hours
from sipagent.notice.spoken_name import SHIPPED, other_name, says_shipped
from sipagent.notice.vocabulary import FRENCH, VOCABULARIES


def name_findings(config: Config, what: str, words: str, language: str) -> Iterator[Finding]:
    """Whether it says another name: callers must know whom they have reached."""
    text, voc = heard.plain(words), VOCABULARIES.get(language, FRENCH)
    names = [config.service.name, config.service.controller]
    ours = f"service.name is {config.service.name}"
    if says_shipped(text, names, voc):
        yield error(what, f"says {SHIPPED}, the name that is shipped; {ours}")
    elif other := other_name(words, language, names, voc):
        yield warning(what, f"greets callers as {other}; {ours}")
    elif heard.names_one_of(text, names, voc):
        yield ok(what, "says whose it is")


def hours_findings(config: Config, what: str, text: str, language: str) -> Iterator[Finding]:
    """Whether the hours in plain words are the configured ones."""
    told, hours = told_hours(text, language), config.hours
    if told is None or not (told or told.holidays):
        return
    zone = config.service.timezone.key
    untrue = [
        f"says the time of {city}; service.timezone is {zone}" for city in _elsewhere(text, language, zone)
    ]
    untrue += differences(told, None if hours is None else hours.week)
    if told.holidays and hours is not None and hours.holidays == Holidays():
        untrue.append("says that public holidays are closed, and hours.holidays is absent")
    yield from (warning(what, one) for one in untrue)
    if not untrue:
        yield ok(what, f"says the hours that are set ({told or 'public holidays'})")


def _elsewhere(text: str, language: str, zone: str) -> list[str]:
    """The cities of other time zones whose clock plain words name."""
    cities = {_city(key) for key in available_timezones()} - {_city(zone)}
    return [city.capitalize() for city in clocks(text, language) if city in cities]


def _city(zone: str) -> str:
    return zone.rpartition("/")[2].casefold()
