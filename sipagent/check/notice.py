"""Whether the prompts say what they must, by the words in the files beside them, and sound as they should.

A caller must learn before being recorded who records, that it is recorded, what for, and how to refuse
it, or accept it (GDPR articles 13 and 21(4); article 7 if the recording rests on consent). And what the
prompts say of the service must be true: its name, and when it is open.

    lint(config)             every single thing, for `sipagent notice --lint`
    prompt_findings(config)  what is not right of it, for `sipagent check`
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zoneinfo import available_timezones

from media.prompt import EssentialPart, Loudness, PromptError, PromptFile, inspect_prompt, loudness
from retention.texts import Reason, joined, reason_of
from sipagent.config.errors import Finding, counted, error, ok, warning
from sipagent.config.hours import days_shown, without
from sipagent.config.load import Config, Holidays, PromptSet
from sipagent.text import notice
from sipagent.text import notice_words as heard
from sipagent.text.notice_words import (
    FRENCH,
    SHIPPED,
    VOCABULARIES,
    Vocabulary,
    other_name,
    plain,
    says_shipped,
)

__all__ = ["VOCABULARIES", "lint", "missing_words", "plain", "prompt_findings"]


def name_findings(config: Config, what: str, words: str, language: str) -> Iterator[Finding]:
    """Whether it says another name: callers must know whom they have reached."""
    text, voc = heard.plain(words), VOCABULARIES.get(language, FRENCH)
    names = [config.service.name, config.service.controller]
    ours = Reason("service.name is {0}", config.service.name)
    if says_shipped(text, names, voc):
        yield error(what, "says {0}, the name that is shipped; {1}", SHIPPED, ours)
    elif other := other_name(words, language, names, voc):
        yield warning(what, "greets callers as {0}; {1}", other, ours)
    elif heard.names_one_of(text, names, voc):
        yield ok(what, "says whose it is")


def hours_findings(config: Config, what: str, text: str, language: str) -> Iterator[Finding]:
    """Whether the hours in plain words are the configured ones."""
    told, hours = notice.told_hours(text, language), config.hours
    if told is None or not (told or told.holidays):
        return
    zone = config.service.timezone.key
    untrue: list[str] = [
        Reason("says the time of {0}; service.timezone is {1}", city, zone)
        for city in _elsewhere(text, language, zone)
    ]
    untrue += notice.hours_differences(told, None if hours is None else hours.week)
    if told.holidays and hours is not None and hours.holidays == Holidays():
        untrue.append(Reason("says that public holidays are closed, and hours.holidays is absent"))
    yield from (warning(what, one) for one in untrue)
    if not untrue:
        yield ok(what, "says the hours that are set ({0})", told or Reason("public holidays"))


def _elsewhere(text: str, language: str, zone: str) -> list[str]:
    """The cities of other time zones whose clock plain words name."""
    cities = {_city(key) for key in available_timezones()} - {_city(zone)}
    return [city.capitalize() for city in notice.clocks(text, language) if city in cities]


def _city(zone: str) -> str:
    return zone.rpartition("/")[2].casefold()


NAMES = (
    "choose",
    "notice",
    "details",
    "welcome",
    "refused",
    "confirm",
    "closed",
    "unavailable",
    "hold_music",
    "please_hold",
)
MESSAGES = "messages."
LONG_S = 20.0  # a message that every caller hears before the notice
SPOKEN = tuple(name for name in NAMES if name not in ("choose", "notice", "hold_music"))  # beside the notice

# Syllables a second from the first sound to the last. The shipped prompts have 3.7 to 5.5 in both languages,
# at 155 to 230 words a minute. A fifth faster, or a third slower, is hard to follow on a line; beyond the
# outer bounds no one speaks: the words are not those of the sound.
PACE = (2.5, 6.5)
PACE_POSSIBLE = (1.5, 9.0)
# dBFS. Speech for telephone lines is levelled to -26 below overload (ITU-T P.830); shipped are -20.
LEVEL = (-36.0, -12.0)
LEVEL_HEARD = -42.0
CLIPPED = 0.01  # share of the samples; more is a distortion that hides words


def prompt_findings(config: Config) -> Iterator[Finding]:
    """Look at every prompt of every language in use, once each; one line if all is well."""
    for name, findings in _by_prompt(config):
        yield findings[0]
        wrong = [finding for finding in findings[1:] if finding.level != "ok"]
        yield from wrong
        if name == "notice" and findings[0].level == "ok" and not wrong:
            yield ok(findings[0].what, "its words say who records, that it is recorded, and how to decide")
    yield from relay_findings(config)


def relay_findings(config: Config) -> Iterator[Finding]:
    """Whether a relay answers whenever the service does: since 1 October 2026 French services owe that to
    callers who do not hear (decree 2017-875)."""
    access, what = config.access, "access.relay_hours"
    if not access.relay:
        return
    week = None if config.hours is None else config.hours.week
    missing = days_shown(without(week, access.relay_hours)) if access.relay_hours else ()
    lacks = joined(missing, "{0}, {1}") if missing else ""
    if not lacks:
        yield ok(what, "those of the service: {0}", access.relay)
    elif config.service.country == "FR":
        law = Reason("since 1 October 2026 it has the same hours (decree 2017-875)")
        yield warning(what, "the service answers and the relay does not: {0}; {1}", lacks, law)
    else:
        yield warning(what, "the service answers and the relay does not: {0}", lacks)


def lint(config: Config) -> Iterator[Finding]:
    """Look at every prompt of every language in use, once each, and report everything."""
    for _, findings in _by_prompt(config):
        yield from findings
    yield from relay_findings(config)


def _by_prompt(config: Config) -> Iterator[tuple[str, list[Finding]]]:
    """The name of each prompt in use and its findings, the state of its file first."""
    seen: dict[Path, str] = {}
    for prompts in config.prompt_sets():
        paths = {name: getattr(prompts, name) for name in NAMES}
        paths |= {f"{MESSAGES}{name}": path for name, path in prompts.messages.items()}
        for name, path in paths.items():
            what = f"prompts.{name} ({prompts.language})"
            if path is None:
                continue
            if path not in seen:
                yield name, list(_prompt(config, prompts, name, path))
            elif name == "notice":
                detail = Reason("{0} is that of {1}: callers may not understand it", path.name, seen[path])
                yield name, [warning(what, detail)]
            seen.setdefault(path, prompts.language)
        if borrowed := _borrowed(config, prompts):
            yield "", [borrowed]


def _borrowed(config: Config, prompts: PromptSet) -> Finding | None:
    """What callers of another language hear in the default language, except the notice, which has its own
    line."""
    own = config.prompts.overrides.get(prompts.language)
    if prompts.language == config.service.language or own is None:
        return None
    missing = [name for name in SPOKEN if getattr(own, name) is None and getattr(prompts, name) is not None]
    if not missing:
        return None
    detail = Reason(
        "no {0} of its own: callers hear those of {1}", ", ".join(missing), config.service.language
    )
    return warning(f"prompts.{prompts.language}", detail)


def _prompt(config: Config, prompts: PromptSet, name: str, path: Path) -> Iterator[Finding]:
    what = f"prompts.{name} ({prompts.language})"
    try:
        prompt = inspect_prompt(path)
    except (PromptError, OSError) as problem:
        yield error(what, reason_of(problem))
        return
    yield ok(what, "{0}, {1} Hz, {2:.1f} s", path.name, prompt.rate, prompt.duration_ms / 1000)
    sound = loudness(path)
    yield _level(what, sound)
    yield _clipping(what, sound)
    if name == "hold_music":
        return
    said = VOCABULARIES.get(prompts.language)
    if prompt.words is None:
        yield _wordless(what, name, prompt)
        return
    yield _pace(what, prompt.words, sound, said)
    yield from name_findings(config, what, prompt.words, prompts.language)
    if said is None:
        yield warning(
            what, "nobody has listed what it must say in {0!r}: check its words yourself", prompts.language
        )
        return
    text = plain(prompt.words)
    if name == "notice":
        yield from _notice(config, what, text, said, layered=prompts.details is not None)
        if prompt.mark:
            yield _marked(config, what, prompt, prompt.mark, said)
        return
    yield from _RULES.get(name, _silent_on_recording)(config, what, text, said)
    if name.startswith(MESSAGES):  # which may say that today's hours are others
        if prompt.duration_ms > LONG_S * 1000:
            yield warning(what, "long: every caller hears it before the notice")
    elif name != "details":  # there, as in the notice, hours are how long something is kept
        yield from hours_findings(config, what, text, prompts.language)


def _wordless(what: str, name: str, prompt: PromptFile) -> Finding:
    detail = Reason("its words are not in {0}, so nobody can check them", prompt.path.with_suffix(".txt"))
    return (error if name == "notice" else warning)(what, detail)


# --- how it sounds ---


def _level(what: str, sound: Loudness) -> Finding:
    if sound.level_dbfs is None or sound.level_dbfs < LEVEL_HEARD:
        return error(what, "so quiet that it is lost on a line")
    said = Reason("{0:.0f} dBFS where it speaks", sound.level_dbfs)
    if not LEVEL[0] <= sound.level_dbfs <= LEVEL[1]:
        return warning(what, "{0}: {1:.0f} to {2:.0f} is heard well", said, LEVEL[0], LEVEL[1])
    return ok(what, said)


def _clipping(what: str, sound: Loudness) -> Finding:
    if not sound.clipped:
        return ok(what, "not clipped")
    found = error if sound.clipped > CLIPPED else warning
    return found(what, Reason("clipped: {0:.2%} of its samples are cut off at full scale", sound.clipped))


def _pace(what: str, words: str, sound: Loudness, said: Vocabulary | None) -> Finding:
    span_s = max(sound.span_s, 0.001)
    pace, by_words = heard.syllables(plain(words), said) / span_s, len(words.split()) * 60 / span_s
    told = Reason("{0:.1f} syllables a second, {1:.0f} words a minute", pace, by_words)
    if not PACE_POSSIBLE[0] <= pace <= PACE_POSSIBLE[1]:
        short = "its words are shorter than what is heard ({0}): they are not those of the sound"
        long = "its words are longer than what is heard ({0}): they are not those of the sound"
        return error(what, short if pace < PACE_POSSIBLE[0] else long, told)
    if not PACE[0] <= pace <= PACE[1]:
        return warning(what, "hard to follow, or not the words that are heard: {0}", told)
    return ok(what, told)


# --- what its words say ---


def missing_words(config: Config, words: str, said: Vocabulary) -> list[str]:
    """List what the words of a notice leave out; each continues "it does not say"."""
    return [what for said_so, what in _essentials(config, plain(words), said) if not said_so]


def _essentials(config: Config, text: str, said: Vocabulary) -> list[tuple[bool, str]]:
    names, refusing = [config.service.name, config.service.controller], config.refusal.mode == "objection"
    may = Reason("that one may refuse") if refusing else Reason("that one may accept")
    decides = heard.refuses if refusing else heard.accepts
    return [
        (heard.names_one_of(text, names, said), Reason("who records ({0})", config.service.name)),
        (heard.of_recording(text, said).recorded, Reason("that the call is recorded")),
        (any(decides(sentence, said) for sentence in heard.sentences(text)), may),
        _way(config, text, said, refusing=refusing),
    ]


def _way(config: Config, text: str, said: Vocabulary, *, refusing: bool) -> tuple[bool, str]:
    """Whether it says how: by the key, or if a detector listens, by one of the words."""
    refusal = config.refusal
    keys = refusal.refusing if refusing else (refusal.accept_digit,)
    key_that = "the key that refuses ({0})" if refusing else "the key that accepts ({0})"
    says_it = heard.key_refuses if refusing else heard.key_accepts
    if told := [key for key in keys if says_it(text, key, said)]:
        return True, Reason(key_that, ", ".join(told))
    if refusal.engine != "none" and notice.tells_to_say(config, text, said, refusing=refusing):
        return True, Reason("the words to say")
    return False, Reason(key_that, " or ".join(keys))


def _notice(config: Config, what: str, text: str, said: Vocabulary, *, layered: bool) -> Iterator[Finding]:
    """`layered`: it has details, which say what need not stand in the first layer (WP 260 rev.01)."""
    for said_so, required in _essentials(config, text, said):
        yield ok(what, "says {0}", required) if said_so else error(what, "its words do not say {0}", required)
    yield from _promises(config, what, text, said, layered=layered)
    yield from _purposes(config, what, text, said)
    yield from _leads_to_details(config, what, text, said, layered=layered)
    if not layered:
        yield from _how_long(config, what, text, said)
        yield _the_rest(what, text, said)


def _leads_to_details(
    config: Config, what: str, text: str, said: Vocabulary, *, layered: bool
) -> Iterator[Finding]:
    """That there are rights, and the key that tells of them."""
    digit = config.refusal.details_digit
    named = any(
        heard.says_key(s, digit, said) and heard.says(s, said.read_more) for s in heard.sentences(text, _ENDS)
    )
    if named and not layered:
        yield error(what, "names the key {0} for details, and prompts.details is absent", digit)
    elif layered:
        key = Reason("the key of the details ({0})", digit)
        yield ok(what, "says {0}", key) if named else error(what, "its words do not say {0}", key)
        if not heard.says(text, said.rights):
            yield error(what, "its words do not say {0}", Reason("that callers have rights"))


def _details(config: Config, what: str, text: str, said: Vocabulary) -> Iterator[Finding]:
    """The second layer: GDPR article 13(1)(b) and (c), (2)(a), (b) and (d)."""
    if heard.periods(text, said):
        yield from _how_long(config, what, text, said)
    else:
        yield error(what, "its words do not say {0}", Reason("how long recordings are kept"))
    required = (
        (said.bases, Reason("on what legal basis")),
        (said.each_right, Reason("which rights callers have")),
        (said.authorities, Reason("that callers may complain to an authority")),
    )
    for beginnings, which in required:
        found = heard.says(text, beginnings)
        yield ok(what, "says {0}", which) if found else error(what, "its words do not say {0}", which)
    yield _the_rest(what, text, said)
    yield from _spoken_ways(config, what, text, said)
    yield from _refusing_later(config, what, text, said)


def _marked(config: Config, what: str, prompt: PromptFile, mark: EssentialPart, said: Vocabulary) -> Finding:
    """Whether what must be known before one accepts stands before the mark, and can be said by then.

    What it doesn't say at all is told elsewhere.
    """
    before, whole, at_s = plain(mark.words), prompt.words or "", mark.ms / 1000
    never = missing_words(config, whole, said)
    late = [one for one in missing_words(config, mark.words, said) if one not in never]
    if _told_purposes(config, plain(whole), said) and not _told_purposes(config, before, said):
        late.append(Reason("what for"))
    if late:
        return error(what, "its words before [essential {0:g} s] do not say {1}", at_s, ", ".join(late))
    if (pace := heard.syllables(before, said) / at_s) > PACE_POSSIBLE[1]:
        return error(
            what, "its words before [essential {0:g} s] take longer: {1:.1f} syllables a second", at_s, pace
        )
    return ok(what, "the key that accepts counts after {0:g} s", at_s)


def _refusing_later(config: Config, what: str, text: str, said: Vocabulary) -> Iterator[Finding]:
    refusing = config.refusal.refusing
    if config.refusal.mode == "opt_in" and not any(heard.key_refuses(text, key, said) for key in refusing):
        keys = " or ".join(refusing)
        yield warning(what, "its words do not say the key that refuses later ({0})", keys)


def _promises(config: Config, what: str, text: str, said: Vocabulary, *, layered: bool) -> Iterator[Finding]:
    """What it promises and the agent does not do."""
    refusal = config.refusal
    unrecorded = [s for s in heard.sentences(text) if heard.of_recording(s, said).not_recorded]
    if refusal.mode == "objection" and any(heard.says(sentence, said.otherwise) for sentence in unrecorded):
        yield error(
            what, "says that who does nothing is not recorded; with refusal.mode objection, silence allows"
        )
    if not layered:
        yield from _refusing_later(config, what, text, said)
    yield from _spoken_ways(config, what, text, said)
    refusing = refusal.mode == "objection"
    if refusal.engine != "none" and not notice.broken_promise(config, text, said):
        if notice.tells_to_say(config, text, said, refusing=refusing):
            yield ok(what, "says what to say")
        else:
            does = Reason("refuses all the same") if refusing else Reason("does not accept")
            words = ", ".join(refusal.keywords if refusing else refusal.accept_keywords)
            yield ok(what, "promises a key alone; to say it {0} ({1})", does, words)


def _spoken_ways(config: Config, what: str, text: str, said: Vocabulary) -> Iterator[Finding]:
    if broken := notice.broken_promise(config, text, said):
        yield error(what, broken)
    elif config.refusal.engine == "embedding" and (found := notice.better_heard(config, text, said)):
        lesser, best = found
        yield warning(what, "promises a phrase ({0}) that is heard less well than another: {1}", lesser, best)


def _purposes(config: Config, what: str, text: str, said: Vocabulary) -> Iterator[Finding]:
    """GDPR article 13(1)(c)."""
    purposes, told = config.retention.purposes, _told_purposes(config, text, said)
    untold = ", ".join(purpose for purpose in purposes if purpose not in told)
    if not told:
        yield error(what, "its words do not say what for ({0})", untold)
        return
    yield ok(what, "says what for ({0})", ", ".join(told))
    if untold:
        yield warning(what, "its words do not say the purpose {0}", untold)
    if others := ", ".join(_other_purposes(config, text, said)):
        yield warning(what, "says the purpose {0}, which is none of retention.purposes", others)


def _told_purposes(config: Config, text: str, said: Vocabulary) -> list[str]:
    return [one for one in config.retention.purposes if heard.says(text, _beginnings(one, said))]


def _other_purposes(config: Config, text: str, said: Vocabulary) -> Iterator[str]:
    """Purposes that it tells but that are not configured; held recordings serve as evidence."""
    kept = config.retention
    for purpose, words in said.purposes.items():
        named = any(heard.says(plain(own), words) for own in kept.purposes) or purpose in kept.purposes
        held = purpose == "evidence" and bool(kept.hold_grounds)
        if not named and not held and heard.says(text, words):
            yield purpose


def _beginnings(purpose: str, said: Vocabulary) -> Sequence[str]:
    """A purpose not in the vocabulary is searched for by its own words, without their endings."""
    words = heard.tokens(plain(purpose).replace("_", " "))
    return said.purposes.get(purpose) or [word[:7] for word in words if len(word) > 3] or [plain(purpose)]


def _how_long(config: Config, what: str, text: str, said: Vocabulary) -> Iterator[Finding]:
    """GDPR article 13(2)(a)."""
    kept = config.retention.period
    told = heard.periods(text, said)
    if not told and heard.says(text, said.read_more):
        yield ok(what, "says where to read more")
    elif not told:
        yield error(what, "its words do not say how long recordings are kept, nor where to read more")
    else:
        count, unit = max(told, key=lambda period: _days(*period))
        words, days = counted(count, unit), _days(count, unit)
        own, _, own_unit = kept.partition(" ")
        real = _days(int(own), own_unit.removesuffix("s"))
        if real > days * 1.02:
            yield error(what, "says that recordings are kept {0}, but retention.period is {1}", words, kept)
        elif real < days * 0.98 and not heard.says(text, said.at_most):
            yield warning(what, "says that recordings are kept {0}, but retention.period is {1}", words, kept)
        else:
            yield ok(what, "says how long recordings are kept ({0})", words)


def _the_rest(what: str, text: str, said: Vocabulary) -> Finding:
    """GDPR article 13(1) and (2): rights, contacts, legal basis, the authority; too long for a call."""
    rest = Reason("where the rest of GDPR article 13 can be read")
    cure = Reason("`python -m prompts.speak --read-more PLACE`")
    if not heard.says(text, said.read_more):
        return warning(what, "its words do not say {0} ({1})", rest, cure)
    if heard.an_example(text):
        return warning(what, "says an example of {0}: put yours there ({1})", rest, cure)
    return ok(what, "says {0}", rest)


def _days(count: int, unit: str) -> float:
    return count * {"day": 1.0, "week": 7.0, "month": 30.44, "year": 365.25}[unit]


def _choose(config: Config, what: str, text: str, said: Vocabulary) -> Iterator[Finding]:
    """For callers who do not understand the default language, so perhaps in another one, or in several."""
    for key in config.prompts.choices:
        if any(heard.says_key(text, key, words) for words in VOCABULARIES.values()):
            yield ok(what, "says the key {0}", key)
        else:
            yield warning(what, "its words do not say the key {0} of prompts.choices", key)
    yield from _silent_on_recording(config, what, text, said)


def _confirm(config: Config, what: str, text: str, said: Vocabulary) -> Iterator[Finding]:
    """Heard after an answer that was not understood; silence after it refuses, in both modes."""
    yield from _spoken_ways(config, what, text, said)
    digit = config.refusal.accept_digit
    if heard.of_recording(text, said).not_recorded:
        yield ok(what, "says that otherwise the call is not recorded")
    else:
        yield warning(what, "its words do not say that otherwise the call is not recorded")
    if heard.key_accepts(text, digit, said):
        yield ok(what, "says the key that accepts ({0})", digit)
    else:
        yield warning(what, "its words do not name refusal.accept_digit {0}", digit)


def _unrecorded(config: Config, what: str, text: str, said: Vocabulary) -> Iterator[Finding]:
    """Heard by callers who are not recorded, after a refusal or instead of the notice."""
    spoken = heard.of_recording(text, said)
    if spoken.recorded:
        yield error(what, "says that the call is recorded; who hears it is not")
    elif spoken.not_recorded:
        yield ok(what, "says that the call is not recorded")
    else:
        yield ok(what, "does not say that the call is recorded")


def _refused(config: Config, what: str, text: str, said: Vocabulary) -> Iterator[Finding]:
    yield from _unrecorded(config, what, text, said)
    spoken = heard.of_recording(text, said)
    if not spoken.recorded and not spoken.not_recorded:
        yield warning(what, "its words do not confirm that the call is not recorded")


def _silent_on_recording(config: Config, what: str, text: str, said: Vocabulary) -> Iterator[Finding]:
    """Heard outside the notice, by any caller: it must not promise a recording."""
    if heard.of_recording(text, said).recorded:
        yield error(what, "says that the call is recorded; who hears it may not be")
    else:
        yield ok(what, "promises no recording")


_ENDS = ".!?;…"  # "details and your rights: 3" is one sentence

_RULES: dict[str, Callable[[Config, str, str, Vocabulary], Iterator[Finding]]] = {
    "choose": _choose,
    "details": _details,
    "welcome": _unrecorded,
    "refused": _refused,
    "confirm": _confirm,
}
