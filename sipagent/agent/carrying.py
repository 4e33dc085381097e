"""Carries out the commands of a call's flow, one after the other, outwards.

Beside it: the sound that a leg hears (our words that come back are not the caller's, and the notice played
is the one that was loaded), transfers, and the taps of all calls (which leg's sound goes into which, from
their start to their end).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import assert_never

import structlog

from media.frame import SILENCE, Samples
from media.hearing.listener import Listener
from media.prompt import PromptFile
from media.recording.tap import Channel, Tap
from retention.records import Receipt, reference_of
from sipagent.agent.admission import Admission
from sipagent.agent.calls import SERVICE_UNAVAILABLE, LegRoom, LiveCall, LiveCalls, Playing, Unsure
from sipagent.agent.engine import Engine, Gap, Headers, SoundEnded
from sipagent.agent.figures import Tally
from sipagent.agent.operators import Lending
from sipagent.agent.recorder import Recorder
from sipagent.call import events as e
from sipagent.call.events import CALLER, RETRY_AFTER_S
from sipagent.config.identity import display_for_operator
from sipagent.logs import alert
from sipagent.voice.detectors import UnreadableSound, read_sound

SHORT_MS = 60  # a sound may end this much before its length, or begin so late: the clocks of two threads
CACHED = 64  # prompts; half a minute of sound is 480 kB


def heard_whole(prompt: e.Prompt, sound: PromptFile, played_ms: int) -> bool:
    """Whether it was heard to its end; a notice, as it was inspected: another may promise other things.

    The bridge plays a sound in its own time, from its file: one that was over early was not played whole.
    """
    if played_ms < sound.duration_ms - SHORT_MS:
        return False
    if prompt is e.Prompt.MESSAGE:
        return sound.is_unchanged()
    return prompt not in (e.Prompt.NOTICE, e.Prompt.DETAILS) or is_what_was_loaded(sound)


def is_what_was_loaded(notice: PromptFile) -> bool:
    """Whether the file of the notice is still as it was inspected, with an alert where it is not."""
    if not (unchanged := notice.is_unchanged()):
        alert(f"{notice.path} is not what was loaded, so nobody has heard the notice until SIGHUP")
    return unchanged


@lru_cache(maxsize=CACHED)
def _samples(sound: PromptFile) -> Samples:
    """Once for each content of a file; nothing where it is gone, which the engine tells."""
    return _read(sound.path)


def _read(path: Path) -> Samples:
    try:
        return read_sound(path)
    except UnreadableSound:
        return SILENCE


REPLACES = "replaces"  # a phone that doesn't know it must not take the call for one more


def replacing(replaces: str) -> Headers:
    """The Replaces header, by which a phone swaps one of its calls for this one (RFC 3891 6.1), if any."""
    return (("Replaces", replaces), ("Require", REPLACES)) if replaces else ()


class Tapping:
    """On the SIP thread, but for `hear` and `miss`. `failed(call, reason, because)` comes on any, once."""

    def __init__(self, recorder: Recorder, failed: Callable[[str, str, str], None]) -> None:
        self._recorder = recorder
        self._failed = failed
        self.of_leg: dict[int, tuple[Tap, Channel]] = {}  # the engine's leg → where its sound is kept
        self.ordered: list[tuple[LiveCall, e.StartTap]] = []  # to be started once the inbox is empty

    def hear(self, leg: int, samples: Samples, at: float) -> None:
        """Take (n,) int16 of a leg, on the engine's thread or within `catch_up`."""
        if tapped := self.of_leg.get(leg):
            tap, channel = tapped
            tap.feed(channel, samples, at)

    def miss(self, leg: int, samples: int, at: float) -> None:
        """So many samples of a leg are lost."""
        if tapped := self.of_leg.get(leg):
            tap, channel = tapped
            tap.miss(channel, samples, at)

    def unheard(self, leg: int, gap: Gap) -> None:
        """Of a leg nothing came for a while."""
        if tapped := self.of_leg.get(leg):
            tap, channel = tapped
            tap.unheard(channel, gap.back, gap.samples, gap.why)

    def start(self, engine: Engine) -> None:
        """Begin those that were ordered and that nothing has forbidden since."""
        ordered, self.ordered = self.ordered, []
        for call, order in ordered:
            if call.flow.tapping:
                engine.catch_up(call.legs.values())  # what was sent before is no part of the conversation
                self._start(call, order.operator)

    def _start(self, call: LiveCall, operator_uri: str) -> None:
        recording = call.open_recording(operator_uri, self._recorder.archive.files.spool.base)
        self._recorder.keep_receipt(call.receipt(), may_wait=True)
        call.tap = self._recorder.begin(recording, partial(self._failed, call.id))
        call.tap.silence(call.silent, call.silent_why)
        self.of_leg[call.legs[CALLER]] = call.tap, Channel.CALLER
        if operator := call.flow.hunt.operator:  # he may have given the caller away since
            self.follow(call, operator.leg)

    def follow(self, call: LiveCall, leg: int) -> None:
        """An operator (the flow's number of the leg) talks with the caller: another than before, perhaps."""
        if call.tap:
            self.of_leg[call.legs[leg]] = call.tap, Channel.OPERATOR

    def forget(self, leg: int) -> None:
        """A leg (the engine's number) is no part of the conversation any more."""
        self.of_leg.pop(leg, None)

    def stop(self, call: LiveCall, keep: bool) -> None:
        """End the call's recording; keep it, or erase it, also where it had ended before."""
        tap, call.tap = call.tap, None
        now = time.monotonic()
        if tap is None:
            if call.recording and not keep:
                self._recorder.erase_kept(call.receipt(), call.when(now))
            return
        for leg in call.legs.values():
            self.forget(leg)
        if keep:
            self._recorder.keep(tap, *call.closing(now))
        else:
            self._recorder.erase(tap, call.receipt(), call.when(now))


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Carrying:
    """On the SIP thread. `rules` gives those in force."""

    calls: LiveCalls
    rules: Callable[[], Admission]
    tones: Mapping[e.Tone, Path]
    listener: Listener
    recorder: Recorder
    tapping: Tapping
    lending: Lending
    tally: Tally
    unsure: Unsure

    def carry_out(self, engine: Engine, call: LiveCall, command: e.Command) -> None:  # noqa: PLR0912, PLR0915 - one a command
        """Do what a call's flow has decided."""
        leg = call.legs.get(command.leg, -1) if isinstance(command, e.LegOrder) else -1  # the engine's
        if isinstance(command, e.Bridge | e.Separate | e.SilenceTap | e.StopTap):
            engine.catch_up(call.legs.values())  # it is about what they send from now on
        match command:
            case e.Drop():
                self._drop(engine, call)
            case e.Reject(status, retry_after_s):
                engine.reject(call.legs[CALLER], status, retry_after_s)
            case e.AnswerCaller():
                engine.answer(call.legs[CALLER])
            case e.Play():
                self._play(engine, call, command)
            case e.Speak(language):
                call.sounds = call.spoken[language]
            case e.StopPlaying():
                call.playing.pop(command.leg, None)
                engine.stop_playing(leg)
                self.listener.plays(leg, SILENCE)
            case e.PlayTone(tone):
                self._play_tone(engine, call, tone)
            case e.Listen():
                self._listen(engine, call, command)
            case e.SeekOperator(tried):
                self.lending.seek(call, tried, self.legs(engine).for_ringing(call.id))
            case e.DeclineOperator(uri):
                self.lending.decline(call, uri)
            case e.DialOperator():
                if self.lending.may_dial(call, command):
                    self.dial(engine, call, command)
            case e.HangUp():
                if not self.lending.give_up(call, command.leg):
                    engine.hang_up(leg, command.elsewhere)
            case e.Bridge():
                self._bridge(engine, call, command.leg)
            case e.Separate():
                self.tapping.forget(leg)
                engine.separate(leg)
                engine.indicate(leg, "off")
            case e.AllowTransfer():
                engine.allow_transfer(leg, command.targets)
            case e.TellTransfer():
                engine.tell_transfer(leg, command.status, command.last)
            case e.Refer():
                engine.refer(leg, command.uri)
            case e.GiveUpRefer():
                engine.give_up_refer(leg)
            case e.StartTap():
                self.tapping.ordered.append((call, command))
            case e.SilenceTap(on, why):
                call.silence(on, why)
            case e.StopTap(keep):
                self.tapping.stop(call, keep)
            case e.Indicate(recording):
                call.indicated = recording
                for one in call.up:
                    engine.indicate(one, recording)
            case e.Alert(reason):
                log.error("alert", call=call.id, reason=reason)
            case e.ReportOperator():
                self.tally.phones.failed(command, self.rules().extensions, call.id, time.monotonic())
            case e.Finish():
                self._finish(engine, call)
            case _:
                assert_never(command)

    def legs(self, engine: Engine) -> LegRoom:
        """The share of each call in the engine's legs."""
        return LegRoom(engine.capacity, engine.legs, self.calls.shares)

    def takes(self, engine: Engine) -> bool:
        """Whether a caller whose leg is there finds room for a call."""
        return engine.can_play and self.legs(engine).takes(self.rules().calls)

    def would_take(self, engine: Engine) -> bool:
        """Whether one more caller, who has no leg yet, would find one behind those who are coming."""
        legs = LegRoom(engine.capacity, engine.legs + 1, self.calls.shares, self.calls.coming)
        return engine.can_play and legs.takes(self.rules().calls)

    def pass_on(self, engine: Engine, leg: int, *, draining: bool) -> None:
        """The edge asks another worker, and leaves the call's one receipt if none has room."""
        why = "draining" if draining else "legs" if engine.can_play else "players"
        log.info("call_passed_on", status=SERVICE_UNAVAILABLE, why=why, legs=engine.legs)
        engine.reject(leg, SERVICE_UNAVAILABLE, RETRY_AFTER_S)

    def _drop(self, engine: Engine, call: LiveCall) -> None:
        """The engine can't keep silent, so a stranger gets the shortest answer there is, and no receipt."""
        self.tally.count_stranger()
        engine.reject(call.legs[CALLER], 403, None)
        self.calls.remove(call)

    def _play(self, engine: Engine, call: LiveCall, order: e.Play) -> None:
        leg, prompt = call.legs.get(order.leg), order.prompt
        if leg is not None and (sound := call.sounds.get(prompt)):
            loop = prompt is e.Prompt.HOLD_MUSIC
            if call.flow.policy.voice:  # music says no words
                self.listener.plays(leg, SILENCE if loop else _samples(sound))
            began = time.monotonic()  # this thread may be interrupted once the sound plays
            call.playing[order.leg] = Playing(engine.play(leg, sound.path, loop), prompt, began)

    def _play_tone(self, engine: Engine, call: LiveCall, tone: e.Tone) -> None:
        """What comes back of one that is heard while the caller's words count is not the caller's."""
        if tone is e.Tone.YOUR_TURN and call.flow.policy.voice:
            self.listener.plays(call.legs[CALLER], _read(self.tones[tone]))
        engine.overlay(tuple(call.up), self.tones[tone])

    def _listen(self, engine: Engine, call: LiveCall, order: e.Listen) -> None:
        engine_leg = call.legs.get(order.leg)
        if engine_leg is None:
            return
        self.listener.open(engine_leg, tones=order.tones, voice=order.voice, in_call=order.in_call)
        engine.listen(engine_leg)

    def dial(self, engine: Engine, call: LiveCall, order: e.DialOperator) -> None:
        """Ring an operator as one more leg of the call."""
        display = display_for_operator(order.sign, call.caller, reference_of(call.id))
        headers = self.rules().ring_headers[order.sign] + replacing(order.replaces)
        engine_leg = engine.dial(order.uri, display, headers, call.hops)
        self.calls.takes(call, order.leg, engine_leg)
        call.operators[engine_leg] = order.uri

    def _bridge(self, engine: Engine, call: LiveCall, leg: int) -> None:
        self.lending.bridged(call)
        call.bridged.add(call.legs.get(leg, -1))
        engine.bridge(call.legs.get(CALLER, -1), call.legs.get(leg, -1))
        engine.indicate(call.legs.get(leg, -1), call.indicated)
        self.tally.phones.talks(call.operators.get(call.legs.get(leg, -1)))
        self.tapping.follow(call, leg)
        self.recorder.keep_receipt(call.receipt(), may_wait=True)

    def sound_ended(self, engine: Engine, ended: SoundEnded) -> tuple[LiveCall, e.PromptEnded] | None:
        """The fact for its call; None if no call waits for that sound.

        A bridge that had stood still sends faster for a moment: what was sent counts where it is more.
        """
        call = self.calls.of_leg.get(ended.leg)
        number = call.numbers.get(ended.leg) if call else None
        if call is None or number is None:
            return None
        playing = call.playing.get(number)
        if playing is None or playing.token != ended.token:
            return None
        del call.playing[number]
        lasted_ms = (time.monotonic() - playing.began - ended.waited_s) * 1000
        played_ms = round(max(lasted_ms, engine.sent_ms(ended.leg, ended.token)))
        complete = heard_whole(playing.prompt, call.sounds[playing.prompt], played_ms)
        return call, e.PromptEnded(playing.prompt, played_ms, complete)

    def essential_heard(self, engine: Engine, call: LiveCall) -> bool:
        """Whether the caller hears the notice and has been sent the essential part of it."""
        playing = call.playing.get(CALLER)
        if playing is None or playing.prompt is not e.Prompt.NOTICE or call.flow.notice_heard:
            return False
        notice = call.sounds[e.Prompt.NOTICE]
        sent_ms = engine.sent_ms(call.legs[CALLER], playing.token)
        return sent_ms >= notice.essential_ms + SHORT_MS and is_what_was_loaded(notice)

    def _finish(self, engine: Engine, call: LiveCall) -> None:
        self.calls.remove(call)
        for leg in call.legs.values():
            call.streams.setdefault(leg, engine.streams(leg))
        for leg in call.legs.values():
            self.listener.close(leg)
        self.lending.finished(call)
        if call.given_up:
            log.info("call_given_up", call=call.id)
            return
        receipt = call.receipt(ended=time.monotonic())
        log.info("call_ended", call=call.id, outcome=receipt.outcome, decision=receipt.decision)
        self.keep_ended(receipt, certain=call.certain)

    def keep_sure(self, now: float) -> None:
        """Keep what is certain by `now` (monotonic s)."""
        for receipt in self.unsure.sure(now):
            self.keep_ended(receipt, certain=True)

    def keep_ended(self, receipt: Receipt, *, certain: bool) -> None:
        """Count a call that is over, and keep its receipt; in a while where it may be another's to leave."""
        if not certain:
            self.unsure.add(receipt, time.monotonic())
            return
        rejected = receipt.outcome == "rejected"
        self.tally.ended[receipt.outcome or "failed", receipt.decision, receipt.decided_by or ""] += 1
        self.tally.unheard += receipt.unheard
        if receipt.quality:
            self.tally.measured(receipt.quality)
        (self.recorder.keep_rejected if rejected else self.recorder.keep_receipt)(receipt)
