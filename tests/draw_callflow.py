"""Draws the call flow as it is, for sipagent/call/README.md, in Mermaid, from a walk through the code.

    python -m tests.draw_callflow            print them
    python -m tests.draw_callflow --write    put them into that page

Every fact that may come is put to every state that can be reached. An arrow stands for a phase that changed
(or a decision), its words for the facts and timers that did it. A phase in which a fact changes nothing but
the timers or the decision has no arrow for it.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt
from sipagent.call.flow import CallFlow
from sipagent.call.machines import Decision
from sipagent.call.state import Phase, Policy
from tests.histories import CHOICES, A, B, Watch, advance, clone, facts, possible

DOCUMENT = Path(__file__).parent.parent / "sipagent/call/README.md"
BEGIN, END = "<!-- drawn by python -m tests.draw_callflow -->", "<!-- end of what is drawn -->"

# With the short wait that nobody answers is what happens first, with the long one it never is. Then one whose
# calls leave where they may, and one whose operators transfer. Others of these rules together add no arrow.
POLICIES = [
    Policy(
        opt_in=True, voice=True, max_wait_s=0.5, choices=CHOICES, promised=frozenset({("", e.Wish.ACCEPT)})
    ),
    Policy(voice=True, detailed=frozenset({""})),
    Policy(voice=True, recording=False, choices=CHOICES),
    Policy(voice=True, recording=False, refer_targets=(B,)),
    Policy(transfer_targets=(A, B)),
]
TOGETHER = (
    Phase.ANSWERED,
    Phase.CHOICE,
    Phase.MESSAGE,
    Phase.NOTICE,
    Phase.DETAILS,
    Phase.WINDOW,
    Phase.CONFIRM,
    Phase.REFER,
    Phase.HUNT,
    Phase.FAREWELL,
)
"""Phases drawn in one frame: what ends a call from each of them is one arrow, from the frame."""
FRAME = "before the bridge"
WORDS: dict[type, str] = {
    e.CallConfirmed: "ACK",
    e.MediaArrived: "first RTP",
    e.MediaFoundElsewhere: "sound went past the caller",
    e.MediaSourceFound: "whose sound it is",
    e.LegWanted: "leg wanted",
    e.OperatorReached: "phone reached",
    e.OperatorFree: "operator free",
    e.HearingFailed: "listening fails",
    e.HearingEnded: "nothing understood",
    e.ListeningEnded: "all was heard",
    e.OperatorAnswered: "operator answers",
    e.LegHeld: "hold",
    e.TransferAsked: "operator transfers",
    e.MediaLost: "no media",
    e.RecordingDeclined: "device refuses",
    e.ServiceEnding: "service ends",
}
TIMERS = {
    "media": "no RTP in 0.5 s",
    "window": "window closes",
    "verdict": "no verdict in 3 s",
    "max_wait": "waited too long",
    "refer": "no word of REFER",
    "transfer": "no answer",
    "listening": "1 s is over",
}
HEARD = {
    e.Wish.REFUSE: "refusal heard",
    e.Wish.ACCEPT: "acceptance heard",
    e.Wish.UNCLEAR: "unclear speech",
    e.Wish.OTHER: "nothing understood",
}

Edges = dict[tuple[str, str], set[str]]


def walk() -> tuple[Edges, Edges]:
    """How phases, and how decisions, follow each other, and by which words."""
    phases: Edges = defaultdict(set)
    decisions: Edges = defaultdict(set)
    for policy in POLICIES:
        todo = [(CallFlow(policy), Watch(), 100.0)]
        seen: set[Any] = set()
        while todo:
            flow, watch, now = todo.pop()
            for fact in (*facts(flow), e.PromptEnded(Prompt.CLOSED, 1000, complete=True)):
                if not possible(flow, watch, fact) or second(flow, fact):
                    continue
                twin = clone(flow)
                later, then = advance(twin, watch, fact, now)
                if twin.phase is not flow.phase:
                    phases[flow.phase, twin.phase].add(name(flow, fact))
                if twin.consent.decision is not flow.consent.decision:
                    decisions[flow.consent.decision, twin.consent.decision].add(twin.consent.by or "")
                key = state(twin, later)
                if key not in seen and twin.phase is not Phase.ENDED:
                    seen.add(key)
                    todo.append((twin, later, then))
    return phases, decisions


def second(flow: CallFlow, fact: e.Fact) -> bool:
    """A second phone that rings beside another leads nowhere that one doesn't."""
    return isinstance(fact, e.OperatorOffered) and bool(flow.hunt.ringing)


def state(flow: CallFlow, watch: Watch) -> tuple[Any, ...]:
    """What decides where a fact may lead, without the time: that is the timers' affair, by their names."""
    operator, talk, transfer = flow.hunt.operator, flow.conversation, flow.transfer
    return (
        flow.phase, flow.consent.decision, frozenset(flow.timers), flow.hours_open, flow.candidate,
        flow.chooses, bool(flow.messages), flow.media_arrived, flow.playing, flow.notice_heard,
        flow.wants_details, flow.details_told,
        flow.unclear, flow.asks_about_this, flow.late_speech, flow.hearing, flow.told_refused, flow.referred,
        transfer and (transfer.there, transfer.given_up, transfer.leg is None, transfer.returning),
        transfer is not None and transfer.answered is not None,
        operator is not None, operator and operator.audible, len(flow.hunt.ringing), talk and talk.tapping,
        flow.typed.digits.endswith("*"), roles(flow, watch),
    )  # fmt: skip


def roles(flow: CallFlow, watch: Watch) -> tuple[bool, ...]:
    """Whose legs are up: their numbers grow with every phone that is rung."""
    operator, transfer = flow.hunt.operator, flow.transfer
    legs = (
        *(CALLER, operator and operator.leg, transfer and transfer.giver.leg, transfer and transfer.leg),
        *(one.leg for one in flow.hunt.ringing),
    )
    return tuple(leg in watch.up for leg in legs)


def name(flow: CallFlow, fact: e.Fact) -> str:  # noqa: PLR0911 - one a kind of fact
    """What a reader calls this fact."""
    match fact:
        case e.TimePassed():
            if flow.phase is Phase.CHOICE and "window" in flow.timers:
                return "no key in 3 s"
            return TIMERS[min(flow.timers, key=flow.timers.__getitem__)]
        case e.CallOffered():
            rejected = not (fact.source_allowed and fact.number_known and fact.room) or fact.draining
            return "stranger, wrong number or no room" if rejected else "INVITE"
        case e.PromptEnded(prompt, complete=complete):
            return f"“{prompt}” {'ends' if complete else 'is cut short'}"
        case e.DtmfPressed(digit=digit):
            return f"key {digit}"
        case e.KeywordHeard(meaning):
            return HEARD[meaning]
        case e.ReferAnswered(_, status) | e.ReferNotified(_, status):
            return f"REFER: {status}"
        case e.LegGone(leg):
            return f"{'caller' if leg == CALLER else 'operator'} gone"
    return WORDS[type(fact)]


def diagram(edges: Edges, start: str, end: Iterable[str] = ()) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    inner = {edge: words for edge, words in edges.items() if set(edge) <= set(TOGETHER)}
    if inner:
        lines += [f'    state "{FRAME}" as frame {{', *(f"    {line}" for line in arrows(inner)), "    }"]
    lines += arrows({edge: words for edge, words in edges.items() if edge not in inner})
    lines += [f"    {phase} --> [*]" for phase in end]
    return "\n".join([*lines, "```"])


def arrows(edges: Edges) -> list[str]:
    places = ["frame", *Phase, *Decision]
    ordered = sorted(edges.items(), key=lambda edge: [places.index(place) for place in edge[0]])
    return [f"    {one} --> {other}: {'<br/>'.join(sorted(words))}" for (one, other), words in ordered]


def framed(edges: Edges) -> Edges:
    """With one arrow from the frame for what leads from each of its phases to the same end."""
    common = set.intersection(*(edges[phase, Phase.ENDED] for phase in TOGETHER))
    rest = {
        edge: words - common if edge in [(phase, Phase.ENDED) for phase in TOGETHER] else words
        for edge, words in edges.items()
    }
    return {edge: words for edge, words in rest.items() if words} | {("frame", Phase.ENDED): common}


def draw() -> str:
    """Both diagrams: the phases of a call, and the decision beside them."""
    phases, decisions = walk()
    calls = diagram(framed(phases), Phase.OFFERED, [Phase.ENDED])
    return f"{calls}\n\n{diagram(decisions, Decision.UNDECIDED)}\n"


def replaced(document: str, drawing: str) -> str:
    """The document with the drawing in its place."""
    return re.sub(f"(?s)(?<={BEGIN}\n).*?(?={END})", lambda _: drawing, document)


def main() -> None:
    if "--write" in sys.argv:
        DOCUMENT.write_text(replaced(DOCUMENT.read_text(encoding="utf-8"), draw()), encoding="utf-8")
    else:
        print(draw())


if __name__ == "__main__":
    main()
