"""What the words of a prompt say: pure text, French and English.

Small rules that know misleading cases: a call "not recorded", a "recorded message", "our records", a
request that is "enregistrée", "nine months" beside key 9, "un" as an article. They are made for what
offices say on the telephone, not for literature.

The vocabulary of each language stands in `notice.fr.toml` and `notice.en.toml`: without accents, in small
letters. Where a name says "beginnings", a word counts if it begins so.

An office says its name beside a greeting: "Allô Mairie, bonjour", "welcome to Allô Mairie". A caller
greeted by another name than `service.name` or `service.controller` thinks that they have reached somebody
else.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sipagent.text import FOLDER, LANGUAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What is known of a language."""

    conjunction: str  # how `&` is read
    records: tuple[str, ...]  # beginnings: recording, as a deed
    records_if_a_verb: frozenset[str]  # "we record", "we record this call", but "for our records"
    before_verbs: frozenset[str]  # what tells a verb, right before it
    other_records: frozenset[str]  # beside these words, something other than the call is recorded
    calls: frozenset[str]
    negations: frozenset[str]  # of a verb
    without: frozenset[str]  # negations of a noun
    verb_endings: tuple[str, ...]  # of forms that the negation follows: "n'enregistrons pas"
    refuse: tuple[str, ...]  # beginnings
    accept: tuple[str, ...]  # beginnings, of one word each
    able: tuple[str, ...]  # beginnings: "you cannot refuse" offers nothing
    if_: frozenset[str]  # "if you cannot accept" does
    aims: frozenset[str]  # "so as not to be recorded"
    stops: tuple[str, ...]  # beginnings: "to stop the recording"
    unless: tuple[str, ...]  # beginnings: "recorded, unless you press 9"
    wishes: tuple[str, ...]  # beginnings: "if you do not wish to be recorded"
    otherwise: tuple[str, ...]  # beginnings: "otherwise you are not recorded"
    aloud: frozenset[str]  # "say I refuse": what follows must be said
    by_voice: tuple[str, ...]  # "refuse by voice": in any words
    persons: tuple[str, ...]  # beginnings: "tell the operator" is said to somebody
    presses: tuple[str, ...]  # beginnings: what people do with a key
    key_names: frozenset[str]  # right before the key
    counted: frozenset[str]  # right after a number: then it is not a key
    articles: frozenset[str]  # names of a key that are also everyday words
    keys: Mapping[str, tuple[str, ...]]
    keeps: tuple[str, ...]  # beginnings
    at_most: tuple[str, ...]  # beginnings
    read_more: tuple[str, ...]  # beginnings
    rights: tuple[str, ...]  # beginnings
    each_right: tuple[str, ...]  # beginnings: access, erasure, objection
    bases: tuple[str, ...]  # beginnings: legal bases
    authorities: tuple[str, ...]  # beginnings: whom to complain to
    units: Mapping[str, str]
    halves: frozenset[str]  # of a year
    numbers: Mapping[str, int]
    purposes: Mapping[str, tuple[str, ...]]  # beginnings, by what retention.purposes calls it
    greetings: tuple[str, ...]  # patterns of what stands beside an office's name
    never_names: frozenset[str]  # words that begin sentences, but never a name


def _vocabulary(language: str) -> Vocabulary:
    read = told(language)["words"]
    numbers = {word: value for value, word in enumerate(read.pop("counting").split(), 1)} | read.pop("tens")
    conjunction, more = read.pop("conjunction"), {name: _value(said) for name, said in read.items()}
    return Vocabulary(conjunction=conjunction, numbers=numbers, **more)


def _value(said: Any) -> Any:
    """Whole words stand in one text, beginnings and patterns in a list; tables stay as they are."""
    if isinstance(said, str):
        return frozenset(said.split())
    return tuple(said) if isinstance(said, list) else said


def told(language: str) -> dict[str, Any]:
    """What `notice.fr.toml` says of a language."""
    return tomllib.loads((FOLDER / f"notice.{language}.toml").read_text(encoding="utf-8"))


VOCABULARIES: Mapping[str, Vocabulary] = {language: _vocabulary(language) for language in LANGUAGES}
FRENCH, ENGLISH = VOCABULARIES["fr"], VOCABULARIES["en"]

_QUOTED = re.compile(r"[«“\"]([^«»“”\"]+)[»”\"]")
_NEAR = 4  # how many words may be between two that belong together
_REACH = 7  # how many words a negation of a verb reaches
_REACH_OF_NOUN = 5  # how many words a negation of a noun reaches: "no part of this call is recorded"


@dataclass(frozen=True, slots=True)
class NoticeClaims:
    """Whether a text says that the call is recorded, and that it is not."""

    recorded: bool
    not_recorded: bool


def plain(text: str) -> str:
    """Reduce to what can be heard: small letters without accents, one kind of apostrophe and space."""
    decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(bare.casefold().split())


def sentences(text: str, ends: str = ".!?;:…") -> list[str]:
    """Cut plain text where a voice pauses; `n° 9` and `No. 9` become `numero 9`."""
    spelt = re.sub(r"\bn(?:°|o\.?)\s*(?=[\d*#])", "numero ", text)
    return [part for part in re.split(rf"[{ends}]+(?=\s|$)|\s[–—-]\s", spelt) if part.strip()]


def clauses(sentence: str) -> list[list[str]]:
    """Cut a sentence at its commas and brackets, into words; an elision is a separate word."""
    return [words for part in re.split(r"[,()«»\"]", sentence) if (words := tokens(part))]


def tokens(text: str) -> list[str]:
    """Words, numbers and the two signs of a telephone."""
    return re.findall(r"[^\W_]+|[*#]", text)


def names_one_of(text: str, names: Sequence[str], voc: Vocabulary) -> bool:
    """Whether one of the names is said, word by word, with any signs between its written words."""
    said = _bare(text, voc)
    return any(f" {bare} " in f" {said} " for name in names if (bare := _bare(plain(name), voc)))


def _bare(text: str, voc: Vocabulary) -> str:
    initials = re.sub(r"(?<=\b\w)\.(?=\w\b)", "", text)  # S.A.V. is spoken as SAV
    return " ".join(tokens(initials.replace("&", f" {voc.conjunction} ")))


def says(text: str, beginnings: Sequence[str]) -> bool:
    """Whether a word, or several, begin like one of these."""
    return any(re.search(rf"\b{re.escape(beginning)}", text) for beginning in beginnings)


def an_example(text: str) -> bool:
    """Whether it has a name reserved for examples (RFC 2606), written or spoken: `example point org`."""
    return bool(re.search(r"(?<!\bpar )(?<!\bfor )\bex[ae]mple\b", text))


def to_be_said(sentence: str, voc: Vocabulary) -> str | None:
    """The words it tells callers to say; empty if the choice is theirs, None if nothing must be said."""
    bare = sentence.replace("c'est-a-dire", "c'est")
    if found := re.search(rf"\b(?:{'|'.join(sorted(voc.aloud))})\b(.*)", bare):
        after = found[1]
        return " / ".join(part.strip() for part in _QUOTED.findall(after)) or after.strip(" :,")
    return "" if says(bare, voc.by_voice) else None


def of_recording(text: str, voc: Vocabulary) -> NoticeClaims:
    """Whether the text says that the call is recorded, and that it is not."""
    found = {negated for sentence in sentences(text) for negated in _mentions(sentence, voc)}
    return NoticeClaims(recorded=False in found, not_recorded=True in found)


def _mentions(sentence: str, voc: Vocabulary) -> Iterator[bool]:
    """For each mention of recording the call: whether it is negated."""
    for words in clauses(sentence):
        for place in range(len(words)):
            if _records_a_call(words, place, voc):
                yield _denied(words, place, voc)


def _denied(words: Sequence[str], place: int, voc: Vocabulary) -> bool:
    """Whether it is negated. A negation of another verb does not count: "if you do not object your call is
    recorded"."""
    if words[place].endswith(voc.verb_endings) and any(
        word in voc.negations for word in words[place + 1 : place + 3]
    ):
        return True
    if any(word in voc.without for word in words[max(place - _REACH_OF_NOUN, 0) : place]):
        return True
    wished = any(word.startswith(voc.wishes) for word in words)
    for distance, word in enumerate(reversed(words[max(place - _REACH, 0) : place])):
        if word in voc.negations:
            return True
        if distance and word in voc.calls and not wished:
            return False
    return False


def _records_a_call(words: Sequence[str], place: int, voc: Vocabulary) -> bool:
    word, after = words[place], words[place + 1 : place + 1 + _NEAR]
    if word in voc.records_if_a_verb:
        if any(other in voc.calls for other in after):
            return after[0] not in voc.other_records
        verb = place > 0 and words[place - 1] in voc.before_verbs
        return verb and not any(other in voc.other_records for other in after)
    if not word.startswith(voc.records) or (after and after[0] in voc.other_records):
        return False
    for other in reversed(words[max(place - _NEAR, 0) : place]):
        if other in voc.calls:
            return True
        if other in voc.other_records:
            return False
    return True


def refuses(sentence: str, voc: Vocabulary) -> bool:
    """Whether it offers to refuse: not to accept, not to be recorded, to stop the recording."""
    mentions = list(_mentions(sentence, voc))
    if any(mentions) and (says(sentence, voc.wishes) or _aims_at_none(sentence, voc)):
        return True
    if mentions and says(sentence, voc.stops):
        return True
    if False in mentions and says(sentence, voc.unless) and says(sentence, voc.presses):
        return True
    may = says(sentence, voc.refuse) and not _forbids(sentence, voc)
    return may or True in _acceptances(sentence, voc)


def accepts(sentence: str, voc: Vocabulary) -> bool:
    """Whether it mentions accepting, without a negation."""
    return False in _acceptances(sentence, voc)


def _acceptances(sentence: str, voc: Vocabulary) -> set[bool]:
    """For each mention of accepting: whether it is negated."""
    return {
        any(
            other in voc.negations
            for other in (*words[max(place - 3, 0) : place], *words[place + 1 : place + 2])
        )
        for words in clauses(sentence)
        for place, word in enumerate(words)
        if word.startswith(voc.accept)
    }


def _forbids(sentence: str, voc: Vocabulary) -> bool:
    """Whether it says that something is not possible: "you cannot refuse"."""
    words = tokens(sentence)
    for place, word in enumerate(words):
        before = words[max(place - _NEAR, 0) : place]
        if (
            word.startswith(voc.refuse)
            and any(other in voc.negations for other in before)
            and any(other.startswith(voc.able) for other in before)
            and not any(other in voc.if_ for other in words[:place])
        ):
            return True
    return False


def _aims_at_none(sentence: str, voc: Vocabulary) -> bool:
    """Whether not being recorded is the aim of something: "so as not to be recorded, press 9"."""
    return any(
        _records_a_call(words, place, voc)
        and _denied(words, place, voc)
        and any(word in voc.aims for word in words[max(place - _REACH, 0) : place])
        for words in clauses(sentence)
        for place in range(len(words))
    )


def says_key(text: str, key: str, voc: Vocabulary) -> bool:
    """Whether the number is named as a key: pressed, or called a key; `9 months` is not."""
    return any(_says_key(words, key, voc) for sentence in sentences(text) for words in clauses(sentence))


def key_refuses(text: str, key: str, voc: Vocabulary) -> bool:
    """Whether the key is named with refusing, in the same sentence or the one before."""
    return _key_for(text, key, voc, refusing=True)


def key_accepts(text: str, key: str, voc: Vocabulary) -> bool:
    """Whether the key is named with accepting, in the same sentence or the one before."""
    return _key_for(text, key, voc, refusing=False)


def _key_for(text: str, key: str, voc: Vocabulary, *, refusing: bool) -> bool:
    mine, other = (refuses, accepts) if refusing else (accepts, refuses)
    before = ""
    for sentence in sentences(text):
        if says_key(sentence, key, voc) and (
            mine(sentence, voc) or (mine(before, voc) and not other(sentence, voc))
        ):
            return True
        before = sentence
    return False


def _says_key(words: Sequence[str], key: str, voc: Vocabulary) -> bool:
    names = {key, *(plain(name) for name in voc.keys.get(key, ()))}
    for place, word in enumerate(words):
        after = words[place + 1] if place + 1 < len(words) else ""
        if word not in names or after in voc.counted or (word in voc.articles and after in voc.key_names):
            continue
        if len(words) == 1:  # "to refuse: 9"
            return True
        before = words[max(place - _NEAR, 0) : place]
        called_a_key = bool(before) and before[-1] in voc.key_names
        pressed = any(other.startswith(voc.presses) for other in before)
        if called_a_key or (pressed and (word not in voc.articles or not after)):
            return True
    return False


def periods(text: str, voc: Vocabulary) -> list[tuple[int, str]]:
    """The periods for which the text says that something is kept: `(6, "month")`."""
    found = []
    for sentence in sentences(text, ".!?;…"):  # "storage: six months"
        if not says(sentence, voc.keeps):
            continue
        words = tokens(sentence)
        for place, word in enumerate(words):
            unit = voc.units.get(word)
            if unit == "year" and any(other in voc.halves for other in words[max(place - 2, 0) : place]):
                found.append((6, "month"))
            elif unit and (count := _number(words[:place], voc)):
                found.append((count, unit))
    return found


def _number(words: Sequence[str], voc: Vocabulary) -> int:
    """The number at the end of these words, in figures or words; 0 without one."""
    if words and words[-1].isdecimal():
        return int(words[-1])
    first = len(words)
    while first and words[first - 1] in voc.numbers:
        first -= 1
    total = last = 0
    for word in words[first:]:
        value = voc.numbers[word]
        if value == 100:
            total = max(total, 1) * 100
        elif (last, value) == (4, 20):  # quatre-vingts
            total += 76
        else:
            total += value
        last = value
    return total


def syllables(text: str, voc: Vocabulary | None) -> int:
    """The approximate number of syllables: groups of vowels, plus those of spoken figures and signs."""
    count = 0
    for word in tokens(text):
        if word.isdecimal() or word in "*#":
            spoken = voc.keys[word][0] if voc and word in voc.keys else "oe" * min(len(word), 4)
            count += max(len(re.findall(r"[aeiouy]+", plain(spoken))), 1)
        else:
            count += max(len(re.findall(r"[aeiouy]+", word)), 1)
    return count


SHIPPED = "Agglo J'écoute"
"""What the shipped prompts say."""

_NAME = r"(?P<name>[^.!?;:,]+)"
_BEFORE = r"^(?P<name>[^.!?;:,]+?),? "
_ARTICLE = re.compile(r"^(?:(?:le|la|les|the) |l')", re.IGNORECASE)


def says_shipped(text: str, names: Sequence[str], voc: Vocabulary) -> bool:
    """Whether plain words say the shipped name, which is none of these."""
    ours = any(names_one_of(plain(name), [SHIPPED], voc) for name in names)
    return not ours and names_one_of(text, [SHIPPED], voc)


def other_name(words: str, language: str, names: Sequence[str], voc: Vocabulary) -> str | None:
    """The written name in the greeting, if it is none of these; else None."""
    for name in _greeted(words, language):
        if not any(_same(name, ours, voc) for ours in names):
            return name
    return None


def _greeted(words: str, language: str) -> Iterator[str]:
    """What is beside a greeting and has a capital letter that is not due to the start of a sentence."""
    text = " ".join(words.replace("\u2019", "'").split())
    no_names = frozenset[str]().union(*(voc.never_names for voc in VOCABULARIES.values()))
    for sentence in re.split(r"(?<=[.!?;:])\s+", text):
        for pattern in VOCABULARIES[language].greetings if language in VOCABULARIES else ():
            whole = pattern.replace("{name}", _NAME).replace("{before}", _BEFORE)
            for match in re.finditer(whole, sentence, re.IGNORECASE):
                name = match["name"].strip(" «»“”\"'")
                bare = _ARTICLE.sub("", name)
                capital = any(word[0].isupper() for word in tokens(bare))
                if capital and tokens(plain(bare))[0] not in no_names:
                    yield name


def _same(name: str, ours: str, voc: Vocabulary) -> bool:
    """Whether one of the two contains the other, with any article before it."""
    bare = _ARTICLE.sub("", plain(name))
    return names_one_of(bare, [ours], voc) or names_one_of(plain(ours), [bare], voc)
