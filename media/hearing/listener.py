"""The listener: one thread that hears all legs of the process, and reports only conclusions.

    ears --------feed--> queue --> this thread --> ToneDetector        --> report(leg, conclusion)
                                             `-----> VoiceGate, Detector -'

A caller's refusal may be in any frame. So every reason why a frame was not heard becomes a fact,
ListenerFailed: the policy that decides about the recording must know that this silence means nothing.
"""

import logging
import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

from media import MediaError
from media.frame import FRAME_MS, Samples, milliseconds
from media.hearing.dtmf import ToneDetector, ToneDropped, ToneHeard, ToneStarted
from media.hearing.echo import Echo
from media.hearing.keyword import Detector, DetectorError, Meaning, StreamPosition, Verdict, strongest
from media.hearing.vad import WINDOW_MS, SpeechGoesOn, SpeechStarted, Utterance, VoiceGate

FEWEST_LEGS = 4
"""How many legs the two lengths below are for; more legs make the queue longer."""

QUEUE_FRAMES = 20_000 // FRAME_MS
"""5 s of four legs: a thread with a longer delay is stuck, not slow."""

UNSURE_MS = 500
"""How much more speech to hear before anything weaker than a refusal is reported: it may become one."""

BUSY_FRAMES = 500 // FRAME_MS
"""With more frames than this in the queue, leave out provisional judgements: keys are in the queue, too."""

UNBROKEN_MS = WINDOW_MS
"""A sound that goes on for so long is concluded, and begins anew: a question reaches no further back."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeywordSpotted:
    """Someone who still speaks has said this; SpeechEnded repeats it unless something stronger follows.

    Reported at once for a refusal, and again once it is sure; for anything weaker, only if it has not become
    stronger in half a second.
    """

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The verdict on the utterance; None if the detector failed on it (a ListenerFailed says why)."""

    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class ListenerFailed:
    """Something said or pressed on this leg may have been missed; `reason` is one line for the log.

    `error`: of the detector that failed.
    """

    reason: str
    error: MediaError | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class AllHeard:
    """Everything fed of this leg before it was closed has been heard; nothing more follows."""


Conclusion: TypeAlias = (
    ToneStarted
    | ToneDropped
    | ToneHeard
    | SpeechStarted
    | KeywordSpotted
    | SpeechEnded
    | ListenerFailed
    | AllHeard
)


class _Ear(Protocol):
    """One kind of listening on one leg."""

    def feed(self, samples: Samples, at: float) -> Sequence[Conclusion]: ...


class VoiceEar:
    """The gate, and the detector after it."""

    def __init__(self, detector: Detector, is_busy: Callable[[], bool]) -> None:
        self._gate = VoiceGate(detector.every_ms)
        self._stream = secrets.randbits(63)
        self._detector = detector
        self._is_busy = is_busy
        self._echo = Echo()
        self._begin()

    def plays(self, sound: Samples) -> None:
        """From the next frame on, (n,) int16 are played to the leg; empty: nothing."""
        self._echo.plays(sound)

    def feed(self, samples: Samples, at: float = 0.0) -> list[Conclusion]:
        conclusions: list[Conclusion] = []
        for fact in self._gate.feed(self._echo.cleaned(samples)):
            if isinstance(fact, SpeechStarted):
                self._begin()
                conclusions.append(fact)
            elif isinstance(fact, Utterance):
                conclusions += self._conclude(fact)
            elif self._is_busy():
                self._skipped = True
            else:
                conclusions += self._judge(fact)
                conclusions += self._unbroken()
        return conclusions

    def attend(self, detector: Detector) -> list[Conclusion]:
        """From now on other words count, also for the present utterance.

        The words before may have been said in what is heard of it: that is judged first.
        """
        if detector is self._detector:
            return []
        conclusions = [made for fact in self._gate.present() for made in self._judge_last(fact)]
        self._detector = detector
        self._begin()
        self._gate.every_ms = detector.every_ms
        return conclusions

    def finish(self) -> list[Conclusion]:
        """End listening: judge the present utterance as far as it goes."""
        return [made for fact in self._gate.finish() for made in self._conclude(fact)]

    def _begin(self) -> None:
        """Forget what is known of an utterance. `_since`: where in the stream the verdict so far began."""
        self._so_far = self._reported = Verdict(Meaning.OTHER)
        self._since = 0
        self._first = self._gate.at
        self._failed = self._skipped = False

    def _asked(self, fact: SpeechGoesOn | Utterance, *, last: bool = False) -> Verdict:
        place = StreamPosition(self._stream, fact.at, last=last or isinstance(fact, Utterance))
        verdict = self._detector.judge(fact.samples, place)
        behind = self._gate.at - fact.at - len(fact.samples)
        return self._echo.weighed(verdict, fact.samples, behind, self._detector.judge)

    def _judge(self, fact: SpeechGoesOn) -> list[Conclusion]:
        """A provisional judgement, while speech continues: reports only a keyword that changes the
        verdict."""
        before, now = self._so_far.meaning, fact.at + len(fact.samples)
        try:
            self._so_far = strongest([self._so_far, self._asked(fact)])
        except DetectorError as error:
            failed_before, self._failed = self._failed, True  # report once, not ten times a second
            return [] if failed_before else [ListenerFailed(f"voice: {error}", error)]
        meaning = self._so_far.meaning
        if meaning is not before:
            self._since = now
        unsure = meaning is not Meaning.REFUSE and milliseconds(now - self._since) < UNSURE_MS
        same = meaning is self._reported.meaning and self._so_far.sure is self._reported.sure
        if unsure or same:
            return []
        self._reported = self._so_far
        return [KeywordSpotted(self._so_far)]

    def _unbroken(self) -> list[Conclusion]:
        """Conclude a sound that does not pause, such as a television's, and in which nothing was found."""
        unsure = self._failed or self._skipped or self._so_far.meaning is not Meaning.OTHER
        if unsure or milliseconds(self._gate.at - self._first) < UNBROKEN_MS:
            return []
        concluded = SpeechEnded(self._so_far)
        self._begin()
        return [concluded, SpeechStarted()]

    def _judge_last(self, fact: SpeechGoesOn) -> list[Conclusion]:
        """A likely refusal that this detector has yet to report, in speech that goes on without it."""
        try:
            verdict = strongest([self._so_far, self._asked(fact, last=True)])
        except DetectorError as error:
            return [ListenerFailed(f"voice: {error}", error)]
        doubtful = verdict.meaning in (Meaning.REFUSE, Meaning.UNCLEAR)
        return [KeywordSpotted(verdict)] if doubtful and verdict != self._reported else []

    def _conclude(self, utterance: Utterance) -> list[Conclusion]:
        try:
            verdict = self._asked(utterance)
        except DetectorError as error:
            known = self._so_far if self._so_far.meaning in (Meaning.REFUSE, Meaning.UNCLEAR) else None
            return [ListenerFailed(f"voice: {error}", error), SpeechEnded(known)]
        return [SpeechEnded(strongest([self._so_far, verdict]))]


class Listener:
    """Reports what is pressed and said on the legs that are open, in order for each leg.

    `report(leg, conclusion)` is called on the listener's thread and must neither block nor raise. Without
    `detector` speech is not processed, and each leg on which it is wanted is a ListenerFailed: its silence is
    not an answer. `legs`: how many there are at most.
    """

    def __init__(
        self,
        report: Callable[[int, Conclusion], None],
        detector: Detector | None,
        in_call: Detector | None = None,
        legs: int = FEWEST_LEGS,
    ) -> None:
        fours = max(legs, FEWEST_LEGS) / FEWEST_LEGS
        self._longest, self._busy = QUEUE_FRAMES * fours, BUSY_FRAMES * fours
        self._report = report
        self._detector = detector
        self._in_call = in_call
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._listened: set[int] = set()  # read by who feeds: adding and discarding are atomic
        self._overrun: set[int] = set()
        self._drops = 0
        self._ears: dict[int, dict[str, _Ear]] = {}  # only used by the thread
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    @property
    def drops(self) -> int:
        """Frames lost because the queue was full, since the start."""
        return self._drops

    def start(self) -> None:
        """Start the thread; only once."""
        self._thread.start()

    def stop(self) -> None:
        """Hear what was fed so far, then end the thread and wait for it."""
        self._queue.put(None)
        self._thread.join()

    def open(self, leg: int, *, tones: bool, voice: bool, in_call: bool = False) -> None:
        """Listen on `leg` for these from the next frame on; what it already listens for just continues.

        `in_call`: for the words that count only during the call.
        """
        detector = (self._in_call if in_call else self._detector) if voice else None
        self._queue.put(partial(self._equip, leg, detector, tones=tones, deaf=voice and detector is None))
        if tones or detector:
            self._listened.add(leg)
        else:
            self._listened.discard(leg)

    def close(self, leg: int) -> None:
        """Hear the rest of what was fed of `leg`, report AllHeard and forget it; later frames are ignored."""
        self.open(leg, tones=False, voice=False)

    def plays(self, leg: int, sound: Samples) -> None:
        """Tell what `leg` hears from the next frame on: (n,) int16 at 8 kHz, once; empty: nothing any more.

        Call it before a sound begins and after it has been stopped.
        """
        if leg in self._listened:
            self._queue.put(partial(self._play, leg, sound))

    def feed(self, leg: int, samples: Samples, at: float = 0.0) -> None:
        """Take (n,) int16 at 8 kHz; any one thread at a time: never blocks, never raises, costs microseconds.

        The samples are kept, not copied, so they must not change afterwards. `at`: when the last came, in s.
        """
        if leg not in self._listened:
            return
        if self._queue.qsize() >= self._longest:
            self.miss(leg)
        else:
            self._queue.put(partial(self._hear, leg, samples, at))

    def miss(self, leg: int) -> None:
        """A frame of `leg` is lost, which is reported with the next one."""
        if leg in self._listened:
            self._drops += 1
            self._overrun.add(leg)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until everything fed before is reported; False if that took longer than `timeout_s`."""
        reached = threading.Event()
        self._queue.put(reached.set)
        return reached.wait(timeout_s)

    def _run(self) -> None:
        while (step := self._queue.get()) is not None:
            step()

    def _play(self, leg: int, sound: Samples) -> None:
        ears = self._ears.get(leg, {})
        if isinstance(ear := ears.get("voice"), VoiceEar):
            self._do(leg, "voice", partial(ear.plays, sound), ears)

    def _equip(self, leg: int, detector: Detector | None, *, tones: bool, deaf: bool) -> None:
        """What the listener looks for on a leg from now on. `deaf`: for speech, but without a detector."""
        ears = self._ears.pop(leg, {})
        if not tones:
            ears.pop("tones", None)
        elif "tones" not in ears:
            ears["tones"] = ToneDetector()
        self._do(leg, "voice", partial(self._attend, detector, ears), ears)
        if deaf:
            self._report(leg, ListenerFailed("voice: there is no detector"))
        if ears:
            self._ears[leg] = ears
        else:
            self._report(leg, AllHeard())

    def _attend(self, detector: Detector | None, ears: dict[str, _Ear]) -> list[Conclusion]:
        ear = ears.get("voice")
        if detector is None:
            ears.pop("voice", None)
            return ear.finish() if isinstance(ear, VoiceEar) else []
        if isinstance(ear, VoiceEar):
            return ear.attend(detector)
        ears["voice"] = VoiceEar(detector, self._is_busy)
        return []

    def _hear(self, leg: int, samples: Samples, at: float) -> None:
        ears = self._ears.get(leg, {})
        if leg in self._overrun:
            self._overrun.discard(leg)
            self._report(leg, ListenerFailed("fell behind: frames of this leg were dropped"))
        for kind, ear in list(ears.items()):
            self._do(leg, kind, partial(ear.feed, samples, at), ears)

    def _do(
        self, leg: int, kind: str, step: Callable[[], Sequence[Conclusion] | None], ears: dict[str, _Ear]
    ) -> None:
        """Do one step of listening, and report the results."""
        try:
            conclusions = step() or []
        except Exception as error:  # noqa: BLE001
            # Broad on purpose: this thread hears every leg, and an engine may raise anything. One leg's fault
            # must not stop the others, and a dead thread would look like callers who don't refuse.
            _log.exception("listening failed", extra={"leg": leg, "kind": kind})
            ears.pop(kind, None)
            reason = f"{kind}: no longer listened for: {type(error).__name__}: {error}"
            conclusions = [ListenerFailed(reason)]
        for conclusion in conclusions:
            self._report(leg, conclusion)

    def _is_busy(self) -> bool:
        return self._queue.qsize() > self._busy
