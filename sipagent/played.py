"""What a leg hears, for the listener: words of ours that come back are not the caller's."""

from functools import lru_cache

from media.frame import SILENCE, Samples
from media.notice import Prompt
from media.worker import Listener
from sipagent import events as e
from sipagent.detection import UnreadableSound, read_sound

CACHED = 64  # prompts; half a minute of sound is 480 kB


def begins(listener: Listener, leg: int, prompt: e.Prompt, sound: Prompt) -> None:
    """A prompt is about to be played; music says no words."""
    listener.plays(leg, SILENCE if prompt is e.Prompt.HOLD_MUSIC else _samples(sound))


def stopped(listener: Listener, leg: int) -> None:
    """Nothing more is played."""
    listener.plays(leg, SILENCE)


@lru_cache(maxsize=CACHED)
def _samples(sound: Prompt) -> Samples:
    """Once for each content of a file; nothing where it is gone, which the engine tells."""
    try:
        return read_sound(sound.path)
    except UnreadableSound:
        return SILENCE
