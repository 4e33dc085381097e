"""What a person reads of their own call: words in the place of codes, and nothing of how a draw is made.

English people who work with the commands read the codes themselves (`labels`); a letter has to say more. In
French all codes have words.
"""

import re
from collections.abc import Mapping

from sipagent.config.sampling import Draw
from sipagent.languages import spoken
from sipagent.languages.happenings import happening
from sipagent.languages.labels import Kind
from sipagent.languages.spoken import gettext as _
from sipagent.web.templating import label

_ENGLISH: Mapping[Kind, Mapping[str, str]] = {
    "decision": {"undecided": "not decided", "not_allowed": "not to be recorded"},
    "by": {
        "silence": "no choice was made",
        "dtmf": "by a key",
        "voice": "by voice",
        "unclear": "the answer was not clear",
        "sip": "by the telephone network",
        "operator": "by who answered",
        "sampling": "by a draw",
        "disabled": "recording was switched off",
        "notice_failed": "the notice was not heard to its end",
        "recorder_fault": "the recorder failed",
    },
    "moment": {
        "choice": "while a language was chosen",
        "notice": "during the notice",
        "window": "after the notice",
        "call": "during the call",
    },
    "outcome": {
        "connected": "put through",
        "abandoned": "the caller hung up before",
        "closed": "outside opening hours",
        "unavailable": "nobody was free",
    },
    "status": {
        "open": "being recorded",
        "closed": "kept",
        "purging": "being removed",
        "purged": "removed when its time was over",
        "failed": "the recording failed",
    },
    "action": {"export": "copied", "play": "listened to", "note": "analysed", "answer": "told to the person"},
    "purpose": {
        "quality": "quality of the service",
        "organisation": "organisation of the service",
        "disciplinary": "a disciplinary procedure",
        "criminal": "a criminal procedure",
        "access_request": "a person's request",
    },
    "ground": {"disciplinary": "a disciplinary procedure", "criminal": "a criminal procedure"},
}
_DECIDED = re.compile(r"decision: (\w+) \((\w+)\)")
_CHOSEN = re.compile(r"language: (\w+)")


def word(kind: Kind, code: str) -> str:
    """The words for a code."""
    if (kind, code) == ("who", "agent"):
        return _("the service")  # a French agent is a person
    english = _ENGLISH.get(kind, {}) if spoken.language() == "en" else {}
    return english.get(code) or label(kind, code)


def in_words(what: str) -> str:
    """A line of the call's story."""
    if (draw := Draw.read(what)) is not None:
        return _("drawn: it might be recorded") if draw.drawn else _("not drawn: it was not to be recorded")
    if found := _DECIDED.fullmatch(what):
        decision, by = word("decision", found[1]), word("by", found[2])
        return _("decision: {decision} ({by})").format(decision=decision, by=by)
    if found := _CHOSEN.fullmatch(what):
        names = {"fr": _("French"), "en": _("English"), "de": _("German"), "es": _("Spanish")}
        return _("language: {language}").format(language=names.get(found[1], found[1]))
    return happening(what)
