"""What happens on the bridge: the tap's silence, and music for who is held."""

import pytest

from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt, Tone
from sipagent.call.machines import Conversation

OPERATOR = 1
MUSIC_TO_CALLER = e.Play(CALLER, Prompt.HOLD_MUSIC)
MUSIC_TO_OPERATOR = e.Play(OPERATOR, Prompt.HOLD_MUSIC)


def conversation(held: frozenset[int] = frozenset()) -> Conversation:
    return Conversation(OPERATOR, held)


def talking(record: bool = True) -> Conversation:
    talk = conversation()
    talk.begin("sip:201@pbx", record)
    return talk


# --- the tap ---


def test_a_recorded_bridge_begins_with_tap_and_tone() -> None:
    talk = conversation()
    assert talk.begin("sip:201@pbx", record=True) == [
        e.StartTap("sip:201@pbx"),
        e.PlayTone(Tone.RECORDING_ON),
    ]
    assert (talk.tapping, talk.captured) == (True, True)


def test_one_that_is_not_recorded_begins_with_nothing() -> None:
    talk = conversation()
    assert talk.begin("sip:201@pbx", record=False) == []
    assert (talk.tapping, talk.captured) == (False, False)


def test_one_that_begins_during_a_hold_is_silent() -> None:
    talk = conversation(held=frozenset({CALLER}))
    commands = talk.begin("sip:201@pbx", record=True)
    assert commands[-2:] == [e.SilenceTap(on=True), MUSIC_TO_OPERATOR]


@pytest.mark.parametrize("keep", [True, False])
def test_a_stopped_tap_is_acknowledged_and_never_goes_on(keep: bool) -> None:
    talk = talking()
    assert talk.stop_tap(keep) == [e.StopTap(keep), e.PlayTone(Tone.RECORDING_OFF)]
    assert (talk.tapping, talk.captured) == (False, keep)
    assert e.SilenceTap(on=True) not in talk.held(CALLER, sends=True)


def test_silence_lasts_until_the_last_reason_for_it_has_gone() -> None:
    """Both sides hold, and the operator has paused: in any order, one `on` and one `off`."""
    talk = talking()
    steps = [
        talk.toggle_pause(),
        talk.held(CALLER, sends=True),
        talk.held(OPERATOR, sends=True),
        talk.toggle_pause(),
        talk.resumed(CALLER),
        talk.resumed(OPERATOR),
    ]
    silences = [[c.on for c in commands if isinstance(c, e.SilenceTap)] for commands in steps]
    assert silences == [[True], [], [], [], [], [False]]


def test_a_pause_is_acknowledged_by_its_own_tones() -> None:
    talk = talking()
    assert talk.toggle_pause()[-1] == e.PlayTone(Tone.PAUSED)
    assert talk.toggle_pause()[-1] == e.PlayTone(Tone.RESUMED)


# --- holds ---


@pytest.mark.parametrize(
    ("leg", "music", "other"), [(CALLER, MUSIC_TO_OPERATOR, OPERATOR), (OPERATOR, MUSIC_TO_CALLER, CALLER)]
)
def test_the_other_side_of_a_silent_hold_hears_music(leg: int, music: e.Command, other: int) -> None:
    talk = talking(record=False)
    assert talk.held(leg, sends=False) == [music]
    assert talk.resumed(leg) == [e.StopPlaying(other)]


def test_who_sends_music_while_holding_is_left_to_it() -> None:
    talk = talking(record=False)
    assert talk.held(OPERATOR, sends=True) == []
    assert talk.resumed(OPERATOR) == []


def test_nobody_is_there_to_hear_music_where_both_hold() -> None:
    talk = talking(record=False)
    talk.held(CALLER, sends=False)
    assert talk.held(OPERATOR, sends=False) == [e.StopPlaying(OPERATOR)]
    assert talk.resumed(CALLER) == [MUSIC_TO_CALLER]


def test_a_hold_that_begins_to_send_ends_our_music() -> None:
    talk = talking(record=False)
    talk.held(CALLER, sends=False)
    assert talk.held(CALLER, sends=True) == [e.StopPlaying(OPERATOR)]
