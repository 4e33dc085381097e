"""What is coded in rows and in the configuration, as people read it in tables and papers.

English people read the code itself. JSON always has the code. A code that is not listed, such as a purpose of
one's own, is shown as it is.
"""

from functools import lru_cache
from typing import Literal

from sipagent.languages.spoken import language, pgettext

Kind = (
    Literal[
        "status", "decision", "outcome", "by", "moment", "phase", "who", "sum", "fate", "mark", "happening"
    ]
    | Literal["action", "use", "purpose", "ground", "level", "verdict", "log", "role", "host"]
)

CODES: dict[Kind, tuple[str, ...]] = {  # the `msgctxt` of fr/labels.po, and its `msgid`s
    # of a call
    "decision": ("undecided", "allowed", "refused", "not_allowed"),
    "by": (
        *("silence", "dtmf", "voice", "unclear", "sip", "operator"),
        *("sampling", "disabled", "notice_failed", "recorder_fault"),
    ),
    "moment": ("choice", "notice", "window", "call"),  # in which it was decided
    "phase": ("choice", "notice", "window", "call"),  # the same, over a narrow column
    "outcome": (
        *("connected", "transferred", "abandoned", "closed", "unavailable", "rejected", "failed"),
        "in_progress",
    ),
    "who": ("caller", "operator", "agent"),
    "sum": ("rejected", "lost"),  # what is counted together
    "happening": (
        *("recording started", "recording stopped", "recording erased", "paused", "resumed", "flagged"),
        *("stop code", "stop code, and nothing is recorded", "pause code, and nothing is recorded"),
        *("flag code, and nothing is recorded", "hold", "hold ended", "hung up", "lost", "transferred"),
        *("transfer refused with 403", "the service is stopping", "the agent had died in this call"),
        *("host lost", "host back"),
        "acceptance remembered until the notice has ended",
        *("no media", "REFER could not be sent", "nobody took the call by REFER"),
        "no word of what became of REFER",
        "sound from an address that neither SDP nor SIP names",
    ),
    # of a recording
    "status": ("open", "closed", "erased", "purging", "purged", "failed"),
    "fate": ("purged", "erased", "failed", "open"),  # several
    "mark": ("held", "flagged", "incomplete"),
    # of the trace of uses, and of what it is for
    "action": (
        "export",
        "play",
        "note",
        "delete",
        "hold",
        "release",
        "purge",
        "rebuild",
        "rotate",
        "clock_ok",
        "backup",
        "restore",
        "migrate",
        *("ask", "approve", "refuse", "withdraw", "answer"),
        *("account", "token", "login", "right"),
    ),
    "use": ("begun", "done", "refused", "failed"),
    "purpose": ("statistics", "quality", "organisation", "disciplinary", "criminal", "access_request"),
    "ground": ("disciplinary", "criminal"),
    "host": ("running", "draining", "stopped", "lost"),  # of several that share a database
    # of who logs in to the page
    "role": ("listener", "supervisor", "officer", "administrator"),
    # of checks, and of what the detector hears
    "level": ("ok", "warning", "error"),
    "verdict": ("refuse", "accept", "unclear", "other"),
    # of the log, as the demo tells it
    "log": ("decided", "call_ended", "alert", "decision", "by", "outcome"),
}


def N_(text: str) -> str:
    """Mark a text for the catalogues that is translated elsewhere."""
    return text


def label(kind: Kind, code: str) -> str:
    """The words for a code, in the language that is spoken just now."""
    return _label(language(), kind, code)


@lru_cache(maxsize=1024)  # a table has thousands of the same, and gettext looks at the disk for each
def _label(language: str, kind: Kind, code: str) -> str:
    return pgettext(kind, code)
