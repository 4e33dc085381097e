"""What is kept as a code, an English line or a number, as people read it: labels, a call's story, lengths.

English people read the code itself. JSON always has the code. A code that is not listed, such as a
purpose of one's own, is shown as it is; so is a line of a story that nobody foresaw.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Literal

from sipagent.languages.choice import FOLDER
from sipagent.languages.spoken import gettext, language, ngettext, pgettext
from sipagent.languages.spoken import gettext as _

if TYPE_CHECKING:
    from retention.records import Access, Answered, LegQuality, MissingSound, Receipt, Recording
    from retention.use import ExportedCopy

Kind = (  # a `msgctxt` of fr/labels.po; its `msgid`s are the codes
    Literal["status", "fate", "mark"]  # of a recording; `fate`: of several
    | Literal["decision", "by", "moment", "phase", "outcome"]  # of a call
    | Literal["who", "sum", "happening", "because", "missing", "channel"]
    | Literal["action", "use", "purpose", "ground"]  # of the trace of uses
    | Literal["host", "role", "level", "verdict", "log", "identity", "delivery"]
)
"""`moment`: in which it was decided; `phase`: the same, over a narrow column; `sum`: what is counted
together; `because`: why it has no recording, or less than it should; `missing`: why a span of it is not what
was said; `identity`: how far a number is known; `host`: of several that share a database; `role`: of who logs
in; `log`: as the demo tells it; `delivery`: of an event."""


def N_(text: str) -> str:
    """Mark a text for the catalogues that is translated elsewhere."""
    return text


def label(kind: Kind, code: str) -> str:
    """The words for a code, in the language that is spoken just now."""
    return _label(language(), kind, code)


@lru_cache(maxsize=1024)  # a table has thousands of the same, and gettext looks at the disk for each
def _label(language: str, kind: Kind, code: str) -> str:
    return pgettext(kind, code)


@cache
def kept() -> tuple[str, ...]:
    """What kept lines say, with what differs from one to the next in braces."""
    lines = (FOLDER / "kept.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


def happening(what: str) -> str:
    """A line that is kept in English, of a call's story or of the trace; as it is, if nobody foresaw it. Of a
    draw only what came of it: see `how_drawn`."""
    if draw := _DRAW.fullmatch(what):
        return _("not drawn: it was not to be recorded") if draw["not"] else _("drawn: it might be recorded")
    named = label("happening", what)
    if named == what and what:
        named = gettext(what)
    if named != what or language() == "en":
        return named
    if (line := line_of(what)) is None:
        return what
    message, found = line
    values = {f"_{name}": _READ.get(name, str)(value) for name, value in found.items()}
    return _VALUE.sub(r"{_\1}", gettext(message)).format(**values)


def line_of(what: str) -> tuple[str, dict[str, str]] | None:
    """Which of `kept` a line is, and what it has in the place of its braces; None for none of them."""
    for message in kept():
        if found := _pattern(message).fullmatch(what):
            return message, {name[1:]: value for name, value in found.groupdict().items()}
    return None


_DRAW = re.compile(
    r"(?P<not>not )?drawn: (?:(?P<lot>[0-9.e-]+) of seed (?P<seed>[0-9a-f]+)|no seed), "
    r"share (?P<share>[0-9.e-]+)"
)


def how_drawn(what: str) -> str | None:
    """How the draw of this line of a story was made: its lot, seed and share; None for any other line."""
    draw = _DRAW.fullmatch(what)
    if draw is None:
        return None
    if draw["lot"] is None:
        return _("The share is {share}; no lot was drawn.").format(share=draw["share"])
    return _(
        "The lot is {lot}, the share {share}: a call is drawn where its lot is smaller. The lot is made of "
        "the number of the call here and of a secret, the seed {seed}; nothing of the caller goes into it."
    ).format(lot=draw["lot"], share=draw["share"], seed=draw["seed"])


def fate_of_copy(copy: "ExportedCopy", when: str) -> str:
    """What is known of a copy that went out `when`."""
    said = {
        True: _("exported {when} by {who}; it is there"),
        False: _("exported {when} by {who}; it is not there any more"),
        None: _("exported {when} by {who}; whether it is still there cannot be seen from here"),
    }[copy.exists]
    if copy.elsewhere:
        said = _("downloaded {when} by {who}; whether it still exists cannot be known here")
    return said.format(when=when, who=copy.by or "–")


def detail_of(use: "Access") -> str:
    """What the trace says of a use besides, empty for nothing; a person's own reason in their words."""
    theirs = use.action in ("delete", "release") and use.outcome == "done"
    return use.detail or "" if theirs else happening(use.detail or "")


_VALUE = re.compile(r"\{(\w+)(?:!r)?\}")
_READ: dict[str, Callable[[str], str]] = {  # what is a code, or such a line itself
    "decision": partial(label, "decision"),
    "by": partial(label, "by"),
    "roles": lambda roles: ", ".join(label("role", one) for one in roles.split(", ")),
    **dict.fromkeys(("what", "0"), happening),
}


@cache
def _pattern(message: str) -> re.Pattern[str]:
    parts = _VALUE.split(message)  # texts and names in turn
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?P<_{name}>.+)" for name in parts[1::2]]
    return re.compile("".join(parts))


def user_part(address: str | None) -> str | None:
    """`201` of `sip:201@pbx.example.net`."""
    return re.sub(r"^sips?:|[@;].*$", "", address) or address if address else None


def operators(row: "Answered") -> str | None:
    """All who talked with the caller, in order: `201 → 202`."""
    return " → ".join(filter(None, map(user_part, row.each_operator))) or None


def identity(row: "Receipt | None") -> str:
    """How far the number is the caller's: `verified A`; empty without one, or where nothing was told."""
    known = row and row.caller_identity
    return label("identity", known.state) if known and (known.number or known.state != "claimed") else ""


NO_PROOF = N_(
    "A number is no proof of identity: even one that is verified tells which line called, not who spoke, nor "
    "who asks now. Make sure of the person by other means, before you tell or erase anything."
)
"""For whoever answers a person's request (GDPR articles 11(2), 12(6))."""


def decided(row: "Receipt") -> str:
    """`refused (dtmf)`."""
    decision = label("decision", row.decision)
    return f"{decision} ({label('by', row.decided_by)})" if row.decided_by else decision


def how_decided(row: "Receipt") -> str:
    """`in the window, rfc4733, confidence 93 %`; empty if nothing tells."""
    phase = row.phase and _("in the {phase}").format(phase=row.phase)
    if row.phase and (named := label("moment", row.phase)) != row.phase:
        phase = named
    words = [word for word in (phase, row.dtmf_method, row.keyword) if word]
    if row.confidence is not None:
        words.append(_("confidence {amount} %").format(amount=round(row.confidence * 100)))
    return ", ".join(words)


def line(leg: "LegQuality") -> str:
    """`MOS 4.2 · PCMA · 12 of 980 packets lost (1.2 %), in 5 gaps · …`: of what came in on a leg."""
    sent = leg.packets + leg.lost
    if not leg.packets:
        return _("nothing came")
    parts = [
        leg.mos is not None and _("MOS {mos}").format(mos=decimal(leg.mos)),
        leg.codec,
        ngettext(
            "{lost} of {n} packets lost ({share} %), in {gaps} gap",
            "{lost} of {n} packets lost ({share} %), in {gaps} gaps",
            leg.lost_bursts,
        ).format(lost=leg.lost, n=sent, share=decimal(100 * leg.lost / sent), gaps=leg.lost_bursts)
        if leg.lost
        else ngettext("{n} packet, none lost", "{n} packets, none lost", sent).format(n=sent),
        leg.late and _("{n} too late").format(n=leg.late),
        leg.concealed_ms and _("{ms} ms concealed").format(ms=leg.concealed_ms),
        leg.jitter_ms is not None and _("jitter {ms} ms").format(ms=decimal(leg.jitter_ms)),
        leg.rtt_ms is not None and _("round trip {ms} ms").format(ms=round(leg.rtt_ms)),
        leg.level_dbov is not None and _("level {level} dBov").format(level=decimal(leg.level_dbov)),
        leg.clipped and _("{share} % clipped").format(share=decimal(100 * leg.clipped)),
    ]
    return " · ".join(part for part in parts if part)


def decimal(value: float) -> str:
    """`4.2`, `4,2`, `−20.1`."""
    text = f"{value:.1f}".replace("-", "\u2212")
    return text.replace(".", ",") if language() == "fr" else text


ONE_WAY = {"caller": N_("nothing came from the caller"), "operator": N_("nothing came from the operator")}


def lines(row: "Receipt") -> list[tuple[str, str]]:
    """How the sound of a call was, by side; empty where none was measured."""
    if row.quality is None:
        return []
    sides = (_("line of the caller"), row.quality.caller), (_("line of the operator"), row.quality.operator)
    told = [(name, line(leg)) for name, leg in sides if leg]
    one_way = ONE_WAY.get(row.quality.one_way or "")
    return [*told, *([(_("one way"), gettext(one_way))] if one_way else [])]


def of_them_there(
    in_all: str, rows: "Sequence[Recording]", size: Callable[[int], str], whole: str = "{in_all}, {amount}"
) -> str:
    """`5 recordings, 4 of them there: 16:20, 8.4 MB`: what is removed has no length or size."""
    from retention.records import has_sound  # slow to import

    there = [row for row in rows if has_sound(row)]
    seconds, bytes = sum(row.duration_s or 0 for row in there), sum(row.bytes or 0 for row in there)
    said = _("{in_all}, none there: {amount}")
    if there:
        said = ngettext(
            "{in_all}, {n} of them there: {amount}", "{in_all}, {n} of them there: {amount}", len(there)
        )
    amount = f"{length(seconds)}, {size(bytes)}"
    return (whole if len(there) == len(rows) else said).format(in_all=in_all, n=len(there), amount=amount)


def marks(row: "Recording") -> list[str]:
    """The codes of what is special of a recording."""
    special = {"held": row.hold is not None, "flagged": row.flagged, "incomplete": row.incomplete}
    return [name for name, true in special.items() if true]


_SPANS = 20  # that are told of one kind; JSON has all


def missing_sound(row: "Recording") -> list[tuple[str, str]]:
    """What in a recording is not what was said, but for pauses and holds, by its kind: `concealed, caller`,
    and how often, how long, and where."""
    kinds: dict[tuple[str, str], list[MissingSound]] = {}
    for one in row.missing:
        if one.why not in SILENCES:
            kinds.setdefault((one.why or "lost", one.channel or "both"), []).append(one)
    return [(_kind(*kind), _told(spans)) for kind, spans in kinds.items()]


SILENCES = ("paused", "stopped", "hold", "transfer")  # of `why`: nobody was to be heard


_WORDS = {"not_fed": "gave no sound", "nothing_came": "nothing came"}  # English, for codes that are no words


def _kind(why: str, channel: str) -> str:
    said = label("missing", why)
    named = _WORDS.get(why, why) if said == why else said
    return _("{why}, {channel}").format(why=named, channel=label("channel", channel))


def _told(spans: "Sequence[MissingSound]") -> str:
    n, seconds = len(spans), sum(one.to_s - one.from_s for one in spans)
    said = ngettext("{n} time, {seconds} s: {places}", "{n} times, {seconds} s: {places}", n)
    places = [
        _("{first} to {last}").format(first=_moment(one.from_s), last=_moment(one.to_s)) for one in spans
    ]
    more = ["…"] if n > _SPANS else []
    return said.format(n=n, seconds=_decimal(f"{seconds:.2f}"), places=", ".join([*places[:_SPANS], *more]))


def _moment(seconds: float) -> str:
    """`4:05.12`: a span may be as short as 20 ms."""
    minutes, rest = divmod(round(seconds, 2), 60)
    return _decimal(f"{int(minutes)}:{rest:05.2f}")


def _decimal(number: str) -> str:
    return number.replace(".", ",") if language() == "fr" else number


def length(seconds: float | None) -> str:
    """`4:05`, `1:04:05`; a dash if unknown."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
