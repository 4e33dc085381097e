"""What a notice tells callers: its sound and words per language, what to say, and the opening hours.

A caller who says what the notice asks for, and is still recorded, has been deceived. So a promise that
the agent does not keep stops `check` and `run`. Words to be said to a person are not a promise.

Of opening hours, days and times are read separately, in French and English: `mon-fri 08:30-12:00` gives
five days and two times. That is enough to find a day or a time that is not configured, or not spoken; a
person must hear which time belongs to which day. A time on a twelve-hour clock has two meanings: "1:30 in
the afternoon" is read as 1:30 or 13:30.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from media.prompt import PromptFile, inspect_prompt
from retention.texts import Reason, joined
from sipagent.config.hours import NAMES, Week
from sipagent.config.load import Config
from sipagent.config.tables import WORDS
from sipagent.text import LANGUAGES
from sipagent.text import notice_words as heard
from sipagent.text.notice_words import VOCABULARIES, Vocabulary


@dataclass(frozen=True, slots=True)
class SpokenNotice:
    """What callers hear in one language: `numbers` lead to it, and `keys` of `prompts.choices`.

    Both are empty for the language of all other calls. `details`: what a key tells beyond it.
    """

    language: str
    numbers: tuple[str, ...]
    prompt: PromptFile
    keys: tuple[str, ...] = ()
    details: PromptFile | None = None


def spoken_notices(config: Config) -> tuple[SpokenNotice, ...]:
    """The notice of every language in use, the default one first. Raises PromptError, OSError."""
    return tuple(
        SpokenNotice(
            prompts.language,
            tuple(
                number
                for number, language in config.prompts.languages.items()
                if language == prompts.language != config.service.language
            ),
            inspect_prompt(prompts.notice),
            tuple(key for key, language in config.prompts.choices.items() if language == prompts.language),
            inspect_prompt(prompts.details) if prompts.details else None,
        )
        for prompts in config.prompt_sets()
    )


_ENDS = ".!?;…"  # "say: I refuse" is one sentence here


def broken_promise(config: Config, text: str, said: Vocabulary) -> str | None:
    """What plain words promise about speaking and the agent does not keep, in words that continue "it"; None:
    nothing."""
    promised = list(_asked_to_say(config, text, said, refusing=True))
    if not promised:
        return None
    if config.refusal.engine == "none":
        why = (
            Reason('is "none"')
            if config.refusal.engine_written
            else Reason("is absent, and nothing can listen here")
        )
        return Reason("promises a spoken refusal, which nobody hears: refusal.engine {0}", why)
    for words in promised:
        if words and not heard.names_one_of(words, config.refusal.keywords, said):
            return Reason(
                "promises a spoken refusal, and what it says to say ({0}) is none of refusal.keywords", words
            )
    return None


def tells_to_say(config: Config, text: str, said: Vocabulary, *, refusing: bool) -> bool:
    """Whether plain words tell callers to say one of the keywords that refuse, or accept."""
    keywords = config.refusal.keywords if refusing else config.refusal.accept_keywords
    asked = _asked_to_say(config, text, said, refusing=refusing)
    return any(heard.names_one_of(words, keywords, said) for words in asked)


def better_heard(config: Config, text: str, said: Vocabulary) -> tuple[str, str] | None:
    """A default phrase that plain words promise, and the one to promise instead; None: they promise that one,
    or what was never compared."""
    promised = " / ".join(_asked_to_say(config, text, said, refusing=True))
    for best, *others in (words["keywords"] for words in WORDS.values()):
        if heard.names_one_of(promised, [best], said):
            return None
        if lesser := [phrase for phrase in others if heard.names_one_of(promised, [phrase], said)]:
            return lesser[0], best
    return None


def promises(config: Config, language: str, notice: PromptFile, *, refusing: bool) -> bool:
    """Whether a notice tells callers to say what refuses, or accepts.

    If nobody can read it, for want of a vocabulary or of its words: whether the words are in the file.
    """
    said = VOCABULARIES.get(language)
    if said and notice.words:
        asked = _asked_to_say(config, heard.plain(notice.words), said, refusing=refusing)
        return next(asked, None) is not None
    return ("keywords" if refusing else "accept_keywords") in config.refusal.model_fields_set


def unkept(config: Config, spoken: Mapping[str, Sequence[PromptFile]]) -> str | None:
    """The first broken promise among the prompts of each language, with its file; None: all are kept."""
    for language, prompts in spoken.items():
        for prompt in prompts:
            said = VOCABULARIES.get(language)
            if said and prompt.words and (wrong := broken_promise(config, heard.plain(prompt.words), said)):
                return f"{prompt.path} {wrong}"
    return None


def _asked_to_say(config: Config, text: str, said: Vocabulary, *, refusing: bool) -> Iterator[str]:
    """For each sentence that tells to refuse, or accept, by voice: the words to say, "" for any."""
    speaks = heard.refuses if refusing else heard.accepts
    keywords = config.refusal.keywords if refusing else config.refusal.accept_keywords
    for sentence in heard.sentences(text, _ENDS):
        words = heard.to_be_said(sentence, said)
        if words is None or not speaks(sentence, said):
            continue
        if heard.names_one_of(words, keywords, said) or not heard.says(sentence, said.persons):
            yield words


NOON, DAY = 12 * 60, 24 * 60


@dataclass(frozen=True, slots=True)
class ToldHours:
    """What a text says about hours.

    `days`: from Monday, 0; `times`: for each what it may mean, in minutes since midnight; `always`: day and
    night; `holidays`: public holidays are named as closed.
    """

    days: frozenset[int] = frozenset()
    times: tuple[frozenset[int], ...] = ()
    always: bool = False
    holidays: bool = False

    def __bool__(self) -> bool:
        """Whether it says anything about the week."""
        return bool(self.days or self.times or self.always)

    def __str__(self) -> str:
        """`mon, fri, 08:30, 17:30`; of two meanings the one by day."""
        times = sorted(min(time, key=_by_daylight) for time in self.times)
        named = [_listed(self.days)] if self.days else []
        return ", ".join(
            [*named, *dict.fromkeys(map(_clock, times)), *([Reason("day and night")] * self.always)]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HourWords:
    """How a language names days and times, in small letters without accents. Each text is a pattern."""

    days: tuple[str, ...]
    groups: Mapping[str, Sequence[int]]
    to: str  # "monday to friday"
    but: str  # what comes after it, up to a comma, is closed
    part: str  # of a day; what is closed for a part of it is open
    always: str
    every_day: str
    holidays: str
    holidays_open: str
    clock: str
    times: tuple[re.Pattern[str], ...]
    lasting: re.Pattern[str]  # "in 2 hours": not a time of day
    twelve: bool  # a twelve-hour clock
    ranges: tuple[tuple[re.Pattern[str], str], ...]  # "from 9 to 5": times by the words beside them
    numbers: Mapping[str, int]  # and parts of an hour, in minutes


@cache
def _hour_words(language: str) -> HourWords | None:
    """By `notice.fr.toml`; None if the language is not listed."""
    if language not in LANGUAGES:
        return None
    read = heard.told(language)["hours"]
    numbers = _numbers(read.pop("units").split(), read.pop("tens"), read.pop("joints", {})) | read.pop(
        "more", {}
    )
    parts = {name: read.pop(name, "") for name in ("half", "until", "rest")}
    parts["number"] = "|".join([r"\d{1,2}", *sorted(numbers, key=len, reverse=True)])

    def pattern(text: str) -> re.Pattern[str]:
        for name, part in parts.items():
            text = text.replace(f"{{{name}}}", part)
        return re.compile(text)

    return HourWords(
        days=tuple(read.pop("days").split()),
        times=tuple(map(pattern, read.pop("times"))),
        lasting=pattern(read.pop("lasting")),
        ranges=tuple((pattern(found), spelt_out) for found, spelt_out in read.pop("ranges")),
        numbers=numbers | read.pop("parts"),
        **read,
    )


def _numbers(units: Sequence[str], tens: Mapping[str, int], joints: Mapping[str, str]) -> dict[str, int]:
    """The words for 0 to 59; `joints` come between a ten and that unit instead of a space."""
    simple = {word: value for value, word in enumerate(units)}
    return {
        **simple,
        **tens,
        **{
            f"{ten} {joints.get(str(more), '')}{unit}": value + more
            for ten, value in tens.items()
            for unit, more in simple.items()
            if 0 < more < 10
        },
    }


def told_hours(text: str, language: str) -> ToldHours | None:
    """What plain words (`notice_words.plain`) say about hours; None if the language is not listed."""
    known = _hour_words(language)
    if known is None:
        return None
    text = re.sub(r"\s*[–—-]\s*", " - ", text)
    holidays = bool(re.search(known.holidays, text)) and not re.search(known.holidays_open, text)
    always = bool(re.search(known.always, text))
    text = re.sub(known.always, " ", text)
    days = _days(text, known)
    return ToldHours(days, tuple(_times(text.replace(" - ", " "), known)), always, holidays)


def clocks(text: str, language: str) -> list[str]:
    """The words that name a clock: `paris` of "Paris time", "heure de Paris"."""
    known = _hour_words(language)
    return [] if known is None else re.findall(known.clock, text)


def hours_differences(told: ToldHours, week: Week | None) -> Iterator[str]:
    """Name what is said but wrong, and what is left out, in words that continue the prompt's name."""
    if week is None:
        if told.times or 0 < len(told.days) < 7:
            yield Reason("says {0}, and hours.week is absent: open day and night", told)
        return
    if told.always:
        if any(hours != ((0, DAY),) for hours in week):
            yield Reason("says day and night, and hours.week does not")
        return
    opened = frozenset(day for day, hours in enumerate(week) if hours)
    bounds = {minute % DAY for hours in week for interval in hours for minute in interval}
    untrue = [time for time in told.times if not {minute % DAY for minute in time} & bounds]
    untold = sorted(bounds - {minute % DAY for time in told.times for minute in time})
    if closed := told.days - opened:
        yield Reason("says {0}, closed by hours.week", _listed(closed))
    if untrue:
        yield Reason("says {0}, when hours.week neither opens nor closes", ToldHours(times=tuple(untrue)))
    if told.days and (left_out := opened - told.days):
        yield Reason("does not say {0}, open by hours.week", _listed(left_out))
    if told.times and untold:
        yield Reason("does not say {0} of hours.week", ", ".join(map(_clock, untold)))


def _listed(days: frozenset[int]) -> str:
    """`mon-fri, sun`."""
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    ends = ((NAMES[run[0]], NAMES[run[-1]]) for run in runs)
    return joined((one if one == last else Reason("{0}-{1}", one, last) for one, last in ends), "{0}, {1}")


def _clock(minute: int) -> str:
    return "{:02}:{:02}".format(*divmod(minute, 60))


def _by_daylight(minute: int) -> int:
    """A sort key: the day begins at seven, so of 8:30 and 20:30 first 8:30, of 1:30 and 13:30 first 13:30."""
    return (minute - 7 * 60) % DAY


def _days(text: str, known: HourWords) -> frozenset[int]:
    but = re.compile(rf"\b(?:{known.but})\b[^,.;:!?]*")
    closed = " ".join(re.sub(rf"\w+ (?:{known.part})", " ", span) for span in but.findall(text))
    return _named(but.sub(" ", text), known) - _named(closed, known)


def _named(text: str, known: HourWords) -> frozenset[int]:
    if re.search(known.every_day, text):
        return frozenset(range(7))
    name = "|".join(known.days)
    found = {known.days.index(day) for day in re.findall(rf"\b({name})s?\b", text)}
    for pair in re.findall(rf"\b({name})s? (?:{known.to}) ({name})s?\b", text):
        first, last = map(known.days.index, pair)
        found.update((first + step) % 7 for step in range((last - first) % 7))
    for group, days in known.groups.items():
        if re.search(rf"\b{group}\b", text):
            found.update(days)
    return frozenset(found)


def _times(text: str, known: HourWords) -> Iterator[frozenset[int]]:
    text = known.lasting.sub(" ", text)
    for pattern, spelt_out in known.ranges:
        text = pattern.sub(spelt_out, text)
    for pattern in known.times:
        yield from filter(None, (_time(match.groupdict(), known) for match in pattern.finditer(text)))
        text = pattern.sub(" ", text)


def _time(parts: Mapping[str, str | None], known: HourWords) -> frozenset[int]:
    """The moments that a match may mean; none if it is not a time of day."""
    if name := parts.get("name"):
        return frozenset(
            [(0 if name in ("minuit", "midnight") else NOON) + _figure(parts.get("past"), known)]
        )
    hour, minute = _figure(parts.get("hour"), known), _figure(parts.get("minute"), known)
    at = hour * 60 + minute + _figure(parts.get("past"), known) - _figure(parts.get("before"), known)
    if not 0 <= at <= DAY or minute > 59:
        return frozenset()
    half = parts.get("half") or ""
    if half.startswith(("a", "p")):
        return frozenset([at % NOON + NOON * half.startswith("p")])
    return frozenset([at, (at + NOON) % DAY] if known.twelve and hour <= 12 else [at])


def _figure(text: str | None, known: HourWords) -> int:
    """A number in figures or words, 0 without one; `half` and `quarter` are of an hour."""
    if not text:
        return 0
    return int(text) if text.isdecimal() else known.numbers[text]
