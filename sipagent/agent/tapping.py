"""The taps of all calls: which leg's sound goes into which, from their start to their end."""

import time
from collections.abc import Callable

from media.frame import Samples
from media.recording.tap import Channel, Tap
from sipagent.agent.livecall import LiveCall
from sipagent.agent.recorder.recorder import Recorder
from sipagent.call import events as e
from sipagent.call.events import CALLER


class Tapping:
    """On the SIP thread, but for `hear`. `failed(call, reason)` may be called on any, once a tap."""

    def __init__(self, recorder: Recorder, failed: Callable[[str, str], None]) -> None:
        self._recorder = recorder
        self._failed = failed
        self.of_leg: dict[int, tuple[Tap, Channel]] = {}  # the engine's leg → where its sound is kept
        self.ordered: list[tuple[LiveCall, e.StartTap]] = []  # to be started, once nothing waits to be told

    def hear(self, leg: int, samples: Samples, at: float) -> None:
        """Take (n,) int16 of a leg, on the bridge's clock thread."""
        if tapped := self.of_leg.get(leg):
            tap, channel = tapped
            tap.feed(channel, samples, at)

    def start(self) -> None:
        """Begin those that were ordered and that nothing has forbidden since."""
        ordered, self.ordered = self.ordered, []
        for call, order in ordered:
            if call.flow.tapping:
                self._start(call, order.operator)

    def _start(self, call: LiveCall, operator_uri: str) -> None:
        recording = call.open_recording(operator_uri, self._recorder.archive.files.base)
        self._recorder.keep_receipt(call.receipt(), may_wait=True)
        call.tap = self._recorder.begin(recording, lambda reason: self._failed(call.id, reason))
        call.tap.silence(call.silent)
        self.of_leg[call.legs[CALLER]] = call.tap, Channel.CALLER
        if operator := call.flow.hunt.operator:  # who may have given the caller away since
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
