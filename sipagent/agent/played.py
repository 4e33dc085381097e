"""What a leg hears: our words that come back are not the caller's, and a notice is that which was loaded."""

from functools import lru_cache

from media.frame import SILENCE, Samples
from media.hearing.listener import Listener
from media.prompt import PromptFile
from sipagent.call import events as e
from sipagent.logs import alert
from sipagent.voice.detection import UnreadableSound, read_sound

SHORT_MS = 60  # a sound may end this much before its length: the clocks of two threads
CACHED = 64  # prompts; half a minute of sound is 480 kB


def begins(listener: Listener, leg: int, prompt: e.Prompt, sound: PromptFile) -> None:
    """A prompt is about to be played; music says no words."""
    listener.plays(leg, SILENCE if prompt is e.Prompt.HOLD_MUSIC else _samples(sound))


def whole(prompt: e.Prompt, sound: PromptFile, played_ms: int) -> bool:
    """Whether it was heard to its end; a notice, as it was inspected: another may promise other things.

    The bridge plays a sound in its own time, from its file: one that was over early was not played whole.
    """
    if played_ms < sound.duration_ms - SHORT_MS:
        return False
    if prompt is not e.Prompt.NOTICE or sound.is_unchanged():
        return True
    alert(f"{sound.path} is not what was loaded, so nobody has heard the notice until SIGHUP")
    return False


def stopped(listener: Listener, leg: int) -> None:
    """Nothing more is played."""
    listener.plays(leg, SILENCE)


@lru_cache(maxsize=CACHED)
def _samples(sound: PromptFile) -> Samples:
    """Once for each content of a file; nothing where it is gone, which the engine tells."""
    try:
        return read_sound(sound.path)
    except UnreadableSound:
        return SILENCE
