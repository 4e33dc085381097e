"""An agent on a stage: engine and clock are played by the test, everything behind them is real.

A test posts what an engine would report and lets the agent take a turn; `engine.orders` then holds what the
agent asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from media.frame import FRAME_SAMPLES, Samples
from media.hearing.keyword import Meaning, StreamPosition, Verdict
from media.prompt import PromptFile as Sound
from retention.records import Ids, Receipt, Recording
from sipagent.agent.admission import Admission
from sipagent.agent.agent import Agent, AgentFact
from sipagent.agent.board import Strategy
from sipagent.agent.engine import Incoming, OfLeg, SoundEnded
from sipagent.agent.operators import BoardClient, Rota, local_board_client
from sipagent.agent.recorder import Recorder
from sipagent.call import events as e
from sipagent.call.events import LATE_S
from sipagent.call.state import Policy
from sipagent.config.hours import Schedule
from sipagent.config.sampling import Shares
from sipagent.softphone.rtp import tone
from sipagent.voice.detectors import NOBODY_LISTENS, Detectors
from tests import kept
from tests.fake_engine import FakeEngine
from tests.settling import settle
from tests.tapping import PATIENCE_S

DESK, SECOND_DESK = "sip:201@127.0.0.1:5070", "sip:202@127.0.0.1:5070"
CALLER = "+33612345678"
NUMBER = "+33323063006"
HERE, ELSEWHERE = "127.0.0.1:5999", "192.0.2.66:5060"
SOUND_MS = 2000
CALLER_HZ, OPERATOR_HZ = 440, 880


def sounds(language: str = "fr") -> dict[e.Prompt, Sound]:
    """Prompts that nobody will open: two seconds each."""
    return {
        prompt: Sound(Path(f"/prompts/{language}/{prompt.value}.wav"), 8000, SOUND_MS, "ab" * 32, None)
        for prompt in e.Prompt
    }


RULES = Admission(
    policy=Policy(window_s=3.0),
    country="FR",
    period="6 months",
    receipts_period="9 months",
    calls=1,
    shares=Shares(ZoneInfo("Europe/Paris"), 1.0),
    extensions=(DESK, SECOND_DESK),
    wrap_up_s=0.0,
    strategy="sequential",
    ring_headers=dict.fromkeys(e.Sign, ()),
    allowed=(ip_network("127.0.0.0/8"),),
    numbers=frozenset(),
    schedule=Schedule(ZoneInfo("Europe/Paris")),
    sounds={"fr": sounds(), "en": sounds("en")},
    languages={"+33323063007": "en"},
    language="fr",
)
TONES = {tone: Path(f"/tones/{tone.value}.wav") for tone in e.Tone}


def invite(
    caller: str = CALLER, number: str = NUMBER, call_id: str = "a84b4c76e66710", more: str = ""
) -> str:
    return (
        f"INVITE sip:{number}@127.0.0.1 SIP/2.0\r\n"
        f"From: <sip:{caller}@127.0.0.1>;tag=1\r\nTo: <sip:{number}@127.0.0.1>\r\n"
        f"Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\n{more}\r\n"
    )


def pressed(leg: int, keys: str) -> list[e.Fact]:
    return [e.DtmfPressed(leg, digit, "rfc4733") for digit in keys]


@dataclass
class Clock:
    """In place of the module `time`, where the agent looks at it."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Beside:
    """Of a worker: its number, the clock of all, and the way to the board of all."""

    index: int
    clock: Clock
    board_client: BoardClient


class Hears:
    """A detector for which nothing that is said is a word."""

    every_ms = 100

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        return Verdict(Meaning.OTHER)


class Stage:
    """An agent, its engine, its clock and what it keeps.

    `detectors`: by default those that the rules want.
    """

    def __init__(
        self,
        folder: Path,
        rules: Admission = RULES,
        registers: bool = False,
        rota: Rota | None = None,
        worker: "Beside | None" = None,
        *,
        detectors: Detectors | None = None,
    ) -> None:
        listening = Detectors(Hears(), Hears()) if rules.policy.voice else NOBODY_LISTENS
        self.clock = worker.clock if worker else Clock()
        self.archive = kept.archive(folder, worker.index if worker else None)
        self.alerts: list[str] = []
        self.recorder = Recorder(self.archive, "wav", self.alerts.append)
        own = local_board_client(rules, rota, self.recorder.later)
        self.board = own.board
        self.agent = Agent(
            rules,
            self.recorder,
            TONES,
            registers=registers,
            detectors=detectors or listening,
            board_client=worker.board_client if worker else own,
            ids=Ids(worker.index) if worker else None,
            behind_edge=worker is not None,
        )
        self.engine = FakeEngine(self.agent.post)
        self.engine.sleep = self.clock.sleep

    # --- what happens ---

    def turn(self, *reports: AgentFact, after_s: float = 0.0) -> None:
        """These are in the inbox `after_s` seconds later, when the agent takes its turn."""
        self.clock.now += after_s
        for report in reports:
            self.agent.post(report)
        self.agent.turn(self.engine)

    def tell(self, leg: int, *facts: e.Fact, after_s: float = 0.0) -> None:
        self.turn(*(OfLeg(leg, fact) for fact in facts), after_s=after_s)

    def invite(self, source: str = HERE, **message: str) -> int:
        leg = self.engine.next_number()
        self.engine.up.add(leg)
        self.turn(Incoming(leg, source, invite(**message)))
        return leg

    def greeted(self, telephone_event: bool = True, **message: str) -> int:
        leg = self.invite(**message)
        self.tell(leg, e.CallConfirmed(telephone_event), e.MediaArrived())
        return leg

    def sound_over(self, leg: int, after_s: float = SOUND_MS / 1000) -> None:
        """What the leg hears has come to its end."""
        self.turn(SoundEnded(leg, self.engine.tokens[leg]), after_s=after_s)

    def rung(self, **how: Any) -> tuple[int, int]:
        """A caller who has let the notice and the window pass, and the operator's leg that rings."""
        leg = self.greeted(**how)
        self.sound_over(leg)
        self.turn(after_s=self.agent.admission.policy.window_s)
        return leg, max(self.engine.dialled)

    def bridged(self, **how: Any) -> tuple[int, int]:
        """A caller and an operator who talk: the tap runs, and what began before the bridge was heard out."""
        caller, operator = self.rung(**how)
        self.answered(operator)
        self.turn(after_s=LATE_S)
        self.settle()
        return caller, operator

    def answered(self, operator: int) -> None:
        self.tell(operator, e.OperatorAnswered(operator, telephone_event=True), e.MediaArrived(operator))

    def gone(self, leg: int, status: int = 200) -> None:
        self.engine.up.remove(leg)
        self.tell(leg, e.LegGone(leg, status))

    def hear(self, leg: int, samples: Samples) -> None:
        """The leg sends (n,) int16, in the bridge's frames."""
        assert (leg,) in self.engine.ordered("listen")
        for start in range(0, len(samples), FRAME_SAMPLES):
            self.clock.now += 0.1
            self.agent.hear(leg, samples[start : start + FRAME_SAMPLES], self.clock.now)

    def talk(self, caller: int, operator: int, seconds: float = 1.0) -> None:
        """Both send a tone of their own at once."""
        assert {(caller,), (operator,)} <= set(self.engine.ordered("listen"))
        for _ in range(round(seconds * 10)):
            self.clock.now += 0.1
            for leg, hz in ((caller, CALLER_HZ), (operator, OPERATOR_HZ)):
                self.agent.hear(leg, tone(hz, 0.1), self.clock.now)
        self.turn()

    def listened(self) -> None:
        """All that was sent has been listened to, and the agent knows it."""
        assert self.agent.listener.flush(PATIENCE_S)
        self.turn()

    # --- what has come of it ---

    def settle(self) -> None:
        """All that was given to the recorder so far is done."""
        settle(self.recorder)

    def hears(self, leg: int) -> str:
        return [Path(sound).stem for played, sound, _ in self.engine.ordered("play") if played == leg][-1]

    def overlaid(self) -> tuple[set[int], str]:
        """What was last played over a conversation, and to whom."""
        legs, sound = self.engine.ordered("overlay")[-1]
        return set(legs), Path(sound).stem

    def shown(self) -> str:
        """What the operator's phone shows that was rung last."""
        return str(self.engine.ordered("dial")[-1][1]).strip('"')

    def receipts(self) -> list[Receipt]:
        self.settle()
        return self.archive.store.receipts()[::-1]

    def receipt(self) -> Receipt:
        (receipt,) = self.receipts()
        return receipt

    def recording(self) -> Recording:
        self.settle()
        (recording,) = self.archive.store.recordings()
        return recording

    def files(self) -> list[str]:
        self.settle()
        return sorted(name.partition(".")[2] for name, _ in self.archive.names())


@contextmanager
def staged(
    folder: Path,
    patch: pytest.MonkeyPatch,
    rules: Admission = RULES,
    *,
    registers: bool = False,
    listens: bool = True,
    rota: Rota | None = None,
    worker: Beside | None = None,
    detectors: Detectors | None = None,
) -> Iterator[Stage]:
    """A stage whose threads run; what is left is finished at the end. `listens`: the listener's, too."""
    stage = Stage(folder, rules, registers, rota, worker, detectors=detectors)
    for module in ("agent.agent", "agent.carrying", "agent.operators"):
        patch.setattr(f"sipagent.{module}.time", stage.clock)
    stage.recorder.start()
    if listens:
        stage.agent.listener.start()
    try:
        yield stage
    finally:
        if stage.agent.listener._thread.is_alive():
            stage.agent.listener.stop()
        stage.recorder.stop()
        stage.archive.store.close()


def with_policy(**changes: Any) -> Admission:
    return replace(RULES, policy=replace(RULES.policy, **changes))


def with_strategy(strategy: Strategy, **changes: Any) -> Admission:
    policy = replace(RULES.policy, simultaneous=strategy == "simultaneous")
    return replace(RULES, policy=policy, strategy=strategy, **changes)
