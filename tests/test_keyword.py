"""What is asked of a detector, without one."""

import pytest

from media.hearing.detectors import load_detector
from media.hearing.keyword import DetectorUnavailable, Meaning, Verdict, strongest


def test_no_engine_is_no_detector() -> None:
    assert load_detector("none", ["je refuse"], ["oui"]) is None


@pytest.mark.parametrize("engine", ["", "None", "whisper"])
def test_an_engine_that_is_not_there_is_an_error_at_start(engine: str) -> None:
    with pytest.raises(DetectorUnavailable, match=r"accepted: 'embedding', 'vosk', 'none'$") as caught:
        load_detector(engine, ["je refuse"])
    assert repr(engine) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ["embedding", "vosk"])
@pytest.mark.parametrize("in_call", [True, False])
def test_a_detector_of_nothing_is_an_error_at_start(engine: str, in_call: bool) -> None:
    """It would fail at the first word that somebody says."""
    with pytest.raises(DetectorUnavailable, match="nothing to listen for; accepted: one phrase that refuses"):
        load_detector(engine, [], ["oui"], in_call=in_call)


def test_doubt_is_against_recording() -> None:
    accept = Verdict(Meaning.ACCEPT, "oui", 0.99)
    unclear = Verdict(Meaning.UNCLEAR, None, 0.4)
    weak, sure = Verdict(Meaning.REFUSE, "je refuse", 0.6), Verdict(Meaning.REFUSE, "refuser", 0.9)
    other = Verdict(Meaning.OTHER)
    assert strongest([accept, weak, other, sure]) == sure
    assert strongest([accept, unclear, other]) == unclear
    assert strongest([other, accept]) == accept
    assert strongest([]) == other
