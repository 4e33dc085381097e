"""What happens between the two sides of a bridge: the tap, its pauses, and holds.

A small pure machine that `flow.CallFlow` drives from the moment of the bridge. The tap runs from the
start or never: nothing here can start it later. It writes silence while it is paused by the operator or
while a side holds, or while the caller is on the way to another operator, so that the recording keeps its
length.
"""

from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt, Tone

MOST_SILENCES = 200  # in one recording, which lists them all: a phone may hold as often as it likes


class Conversation:
    """One bridge. Every method gives the commands that follow."""

    def __init__(self, operator: int, held: frozenset[int]) -> None:
        self.operator = operator
        self.tapping = False
        self.captured = False  # something of it is kept, the tap running or not
        self.paused = False
        self._alone = False  # the caller is on the way to another operator
        self._held = dict.fromkeys(held, False)  # leg → it goes on sending
        self._music_to: int | None = None
        self._silences = 0

    @property
    def too_many(self) -> bool:
        """Whether the recording has been silenced so often that it can't go on."""
        return self.tapping and self._silences >= MOST_SILENCES

    @property
    def _silent(self) -> bool:
        return self.paused or self._alone or bool(self._held)

    def begin(self, uri: str, record: bool, shown: bool = False) -> list[e.Command]:
        """`shown`: the operator's phone rang with REC. Where that is no longer so, a tone says it."""
        self.tapping = self.captured = record
        commands: list[e.Command] = []
        if record:
            commands = [e.StartTap(uri), e.PlayTone(Tone.RECORDING_ON)]
            commands += [e.SilenceTap(on=True)] if self._silent else []
        elif shown:
            commands = [e.PlayTone(Tone.RECORDING_OFF)]
        return commands + self._music()

    def alone(self) -> list[e.Command]:
        """The operator is no party any more."""
        was_silent = self._silent
        self._alone = True
        return self._silence(was_silent) + self._music()

    def joined(self, operator: int, shown: bool = False) -> list[e.Command]:
        """An operator is there again: another leg, or the same. `shown`: its phone rang with REC."""
        was_silent = self._silent
        self._alone, self.operator = False, operator
        self._held = {leg: sends for leg, sends in self._held.items() if leg in (CALLER, operator)}
        return self._silence(was_silent) + self._sign(shown) + self._music()

    def _sign(self, shown: bool) -> list[e.Command]:
        """The tone by which who has come knows whether the call is recorded."""
        if self.tapping:
            return [e.PlayTone(Tone.PAUSED if self.paused else Tone.RECORDING_ON)]
        return [e.PlayTone(Tone.RECORDING_OFF)] if shown else []

    def held(self, leg: int, sends: bool) -> list[e.Command]:
        was_silent = self._silent
        self._held[leg] = sends
        return self._silence(was_silent) + self._music()

    def resumed(self, leg: int) -> list[e.Command]:
        was_silent = self._silent
        self._held.pop(leg, None)
        return self._silence(was_silent) + self._music()

    def toggle_pause(self) -> list[e.Command]:
        was_silent = self._silent
        self.paused = not self.paused
        tone = Tone.PAUSED if self.paused else Tone.RESUMED
        return [*self._silence(was_silent), e.PlayTone(tone)]

    def stop_tap(self, keep: bool) -> list[e.Command]:
        self.tapping, self.captured = False, self.captured and keep
        return [e.StopTap(keep), e.PlayTone(Tone.RECORDING_OFF)]

    def _silence(self, was_silent: bool) -> list[e.Command]:
        if not self.tapping or self._silent == was_silent:
            return []
        self._silences += self._silent
        return [e.SilenceTap(self._silent)]

    def _music(self) -> list[e.Command]:
        """While one side holds and sends nothing, the other hears music."""
        music_to = None
        if len(self._held) == 1 and not self._alone:
            (leg, sends), *_ = self._held.items()
            if not sends:
                music_to = self.operator if leg == CALLER else CALLER
        commands: list[e.Command] = []
        if music_to != self._music_to:
            if self._music_to is not None:
                commands.append(e.StopPlaying(self._music_to))
            if music_to is not None:
                commands.append(e.Play(music_to, Prompt.HOLD_MUSIC))
            self._music_to = music_to
        return commands
