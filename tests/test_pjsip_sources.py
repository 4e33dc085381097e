"""Whose sound and keys a leg hears: its peer's, whoever else sends to its port."""

from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

import prompts
from media.frame import Samples
from sipagent.agent.engine import ForeignMedia
from sipagent.call import events as e
from sipagent.softphone.phone import Answering, Call
from sipagent.softphone.rtp import SteadyTone, strongest
from sipagent.softphone.sip import sdp
from tests.loopback import CALLER_HZ, DESK_HZ, Loopback, scene
from tests.peers.stranger import Stranger

MUSIC = Path(prompts.__file__).parent / "hold.wav"
FOREIGN_HZ = 2000.0
ELSEWHERE = "127.0.0.9"
TRUNK = (ip_network(f"{ELSEWHERE}/32"),)
GATEWAY = "127.0.0.7"


def everywhere(office: Loopback) -> list[tuple[str, int]]:
    """All ports that RTP may come to."""
    first, last = office.engine.settings.rtp_ports
    return [("127.0.0.1", port) for port in range(first, last + 1)]


def where(call: Call) -> tuple[str, int]:
    """Where a phone sends its sound."""
    assert call.media
    return call.media.address


def tones(samples: Samples) -> set[float | None]:
    """All that was heard, in steps of 0.1 s."""
    steps = [strongest(samples[at : at + 800]) for at in range(0, len(samples) - 799, 800)]
    return {None if one is None else round(one, -2) for one in steps}


def hears(office: Loopback, leg: int, seconds: float) -> None:
    """Wait until the leg has handed over so much more sound; silence counts."""
    enough = len(office.heard.get(leg, [])) + round(seconds * 10)
    office.until(lambda: len(office.heard.get(leg, [])) >= enough, f"{seconds} s from the leg")


def keys(office: Loopback, leg: int) -> list[str]:
    return [fact.digit for fact in office.facts(leg) if isinstance(fact, e.DtmfPressed)]


@scene
def test_who_sprays_all_ports_is_neither_heard_nor_obeyed_nor_sent_to(stack: ExitStack) -> None:
    """Before the call, while it is answered, and in its midst."""
    office = Loopback(stack)
    stranger = stack.enter_context(Stranger())
    stranger.say(everywhere(office), FOREIGN_HZ)
    call, leg = office.answered()
    office.engine.listen(leg)
    stranger.say(everywhere(office), FOREIGN_HZ)
    stranger.press(everywhere(office), "9")
    office.told(leg, e.MediaArrived(leg))
    for _ in range(10):
        stranger.say(everywhere(office), FOREIGN_HZ)
        stranger.press(everywhere(office), "1")
        office.frames(call, 0.1)
    assert tones(office.sound_of(leg)) <= {None, round(CALLER_HZ, -2)}
    assert keys(office, leg) == []
    assert stranger.heard() == 0
    assert e.MediaFoundElsewhere(leg) not in office.facts(leg)


@scene
def test_the_ssrc_of_the_peer_is_no_pass(stack: ExitStack) -> None:
    """While the peer sends nothing, as a phone does whose user is muted."""
    office = Loopback(stack)
    call, leg = office.answered()
    office.engine.listen(leg)
    office.told(leg, e.MediaArrived(leg))
    stranger = stack.enter_context(Stranger(ssrc=call.rtp._ssrc))
    call.rtp.play(None)
    for _ in range(10):
        stranger.say([where(call)], FOREIGN_HZ)
        stranger.press([where(call)], "9")
        hears(office, leg, 0.1)
    call.press("5")
    office.told(leg, e.DtmfPressed(leg, "5", "rfc4733"))
    assert keys(office, leg) == ["5"]
    assert round(FOREIGN_HZ, -2) not in tones(office.sound_of(leg))
    assert stranger.heard() == 0


@scene
def test_what_is_kept_from_a_leg_is_told(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    office.told(leg, e.MediaArrived(leg))
    with Stranger() as stranger:
        stranger.say([where(call)], FOREIGN_HZ, frames=30)
    office.until(lambda: office.of(ForeignMedia), "word of what was dropped")
    assert office.of(ForeignMedia) == [ForeignMedia(leg, 30)]


@scene
def test_an_operators_leg_hears_the_operator_alone(stack: ExitStack) -> None:
    office = Loopback(stack)
    stranger = stack.enter_context(Stranger())
    office.desk.answer = Answering(status=None)
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.until(lambda: office.desk.calls, "ringing phone")
    office.engine.listen(leg)
    stranger.say(everywhere(office), FOREIGN_HZ)
    office.desk.calls[0].decide(200)
    office.told(leg, e.OperatorAnswered(leg, telephone_event=True))
    for _ in range(5):
        stranger.say(everywhere(office), FOREIGN_HZ)
        stranger.press(everywhere(office), "7")
        hears(office, leg, 0.1)
    assert tones(office.sound_of(leg)) <= {None, DESK_HZ}
    assert DESK_HZ in tones(office.sound_of(leg))
    assert (keys(office, leg), stranger.heard()) == ([], 0)


# --- where NAT stands between ---


def behind_nat(office: Loopback) -> Call:
    """A caller whose SDP names an address that nobody reaches, and whose packets come from where SIP does."""
    phone = office.phone("+33612345679", CALLER_HZ, ip=ELSEWHERE)
    return phone.call(office.uri(), sdp=sdp(("10.1.2.3", 4000), (8, 0), 101, "sendrecv", 1))


@scene
def test_a_peer_behind_nat_is_found_where_its_packets_come_from(stack: ExitStack) -> None:
    office = Loopback(stack, callers=TRUNK)
    call = behind_nat(office)
    leg = office.incoming().leg
    office.engine.listen(leg)
    office.engine.answer(leg)
    office.told(leg, e.MediaArrived(leg))
    facts = office.facts(leg)
    assert facts.index(e.MediaFoundElsewhere(leg)) < facts.index(e.MediaArrived(leg))
    office.engine.play(leg, MUSIC, loop=True)
    office.until(lambda: call.rtp.heard, "sound at the phone behind NAT")
    call.press("5")
    office.told(leg, e.DtmfPressed(leg, "5", "rfc4733"))
    hears(office, leg, 0.3)
    assert round(CALLER_HZ, -2) in tones(office.sound_of(leg))


@scene
def test_after_a_reload_the_gateways_are_others(stack: ExitStack) -> None:
    office = Loopback(stack)
    office.engine.trust(TRUNK)
    office.answered()
    (watch,) = office.engine.sources._of.values()
    assert watch.source._networks == TRUNK


def unheard(office: Loopback) -> tuple[Call, int]:
    """A caller behind NAT who has been answered and sends nothing yet."""
    office.caller.sound = None
    call = behind_nat(office)
    call.rtp.play(None)
    leg = office.incoming().leg
    office.engine.listen(leg)
    office.engine.answer(leg)
    office.until(lambda: any(isinstance(fact, e.CallConfirmed) for fact in office.facts(leg)), "ACK")
    return call, leg


@scene
def test_the_first_packets_of_who_is_found_are_not_others(stack: ExitStack) -> None:
    """They are kept from the leg for 0.2 s, whenever somebody counts."""
    office = Loopback(stack, callers=TRUNK)
    behind_nat(office)
    leg = office.incoming().leg
    office.engine.answer(leg)

    def counts() -> bool:
        office.engine.sources._count_at = 0.0
        return e.MediaArrived(leg) in office.facts(leg)

    office.until(counts, "the first packet that is heard")
    assert office.of(ForeignMedia) == []
    assert e.MediaSourceFound(leg, own=True) in office.facts(leg)


@scene
def test_who_is_kept_from_a_leg_that_is_not_heard_is_named(stack: ExitStack) -> None:
    office = Loopback(stack, callers=TRUNK)
    call, leg = unheard(office)
    stranger = stack.enter_context(Stranger(GATEWAY))

    def told() -> bool:
        stranger.say(everywhere(office), FOREIGN_HZ, frames=2)
        stranger.press(everywhere(office), "1")
        return bool(office.of(ForeignMedia))

    office.until(told, "word of who sends")
    first = office.of(ForeignMedia)[0]
    assert (first.leg, first.heard, first.address) == (leg, False, GATEWAY)
    call.rtp.play(SteadyTone(CALLER_HZ))
    office.told(leg, e.MediaSourceFound(leg, own=True))
    assert (keys(office, leg), stranger.heard()) == ([], 0)
    assert round(FOREIGN_HZ, -2) not in tones(office.sound_of(leg))


@scene
def test_where_the_trunk_sends_from_is_heard_and_not_known_to_be_the_callers(stack: ExitStack) -> None:
    office = Loopback(stack, callers=TRUNK, media_sources=(ip_network(f"{GATEWAY}/32"),))
    _, leg = unheard(office)
    gateway = stack.enter_context(Stranger(GATEWAY))

    def heard() -> bool:
        gateway.press(everywhere(office), "9")
        return "9" in keys(office, leg)

    office.until(heard, "a key from the trunk's gateway")
    office.told(leg, e.MediaSourceFound(leg, own=False))


@scene
def test_who_is_not_where_sip_comes_from_is_not_taken_for_a_peer_behind_nat(stack: ExitStack) -> None:
    """It is the first who sends, it goes on for long, and the peer says nothing yet."""
    office = Loopback(stack, callers=TRUNK)
    stranger = stack.enter_context(Stranger("127.0.0.1"))
    office.caller.sound = None
    call = behind_nat(office)
    call.rtp.play(None)
    leg = office.incoming().leg
    office.engine.listen(leg)
    office.engine.answer(leg)
    for _ in range(8):
        stranger.say(everywhere(office), FOREIGN_HZ)
        stranger.press(everywhere(office), "1")
        hears(office, leg, 0.1)
    assert (keys(office, leg), stranger.heard()) == ([], 0)
    assert not any(isinstance(fact, e.MediaArrived | e.MediaFoundElsewhere) for fact in office.facts(leg))
    call.rtp.play(SteadyTone(CALLER_HZ))
    office.told(leg, e.MediaArrived(leg))
    assert round(FOREIGN_HZ, -2) not in tones(office.sound_of(leg))


@scene
def test_who_has_been_found_stays_whoever_comes_from_there_later(stack: ExitStack) -> None:
    office = Loopback(stack, callers=TRUNK)
    call = behind_nat(office)
    leg = office.incoming().leg
    office.engine.listen(leg)
    office.engine.answer(leg)
    office.told(leg, e.MediaArrived(leg))
    stranger = stack.enter_context(Stranger(ELSEWHERE))  # behind the same NAT
    call.rtp.play(None)
    for _ in range(5):
        stranger.say(everywhere(office), FOREIGN_HZ)
        stranger.press(everywhere(office), "9")
        hears(office, leg, 0.1)
    assert (keys(office, leg), stranger.heard()) == ([], 0)
    assert round(FOREIGN_HZ, -2) not in tones(office.sound_of(leg))


# --- where SDP changes ---


@scene
def test_sdp_alone_leads_to_another_peer(stack: ExitStack) -> None:
    """After a re-INVITE with another port the new one is heard, and the one before is a stranger."""
    office = Loopback(stack)
    call, leg = office.answered()
    office.engine.listen(leg)
    office.told(leg, e.MediaArrived(leg))
    with office.loop.lock:
        before, call.rtp = call.rtp, office.caller.new_rtp()
    stack.callback(before.close)
    call.rtp.play(SteadyTone(DESK_HZ))
    office.meanwhile(lambda: call.offer(call._sdp()))
    hears(office, leg, 0.3)
    office.heard[leg].clear()
    hears(office, leg, 0.5)
    assert tones(office.sound_of(leg)) == {DESK_HZ}
    before.press("9")
    call.press("5")
    office.told(leg, e.DtmfPressed(leg, "5", "rfc4733"))
    assert keys(office, leg) == ["5"]


@scene
def test_after_sdp_has_changed_who_is_kept_out_may_be_the_new_peer(stack: ExitStack) -> None:
    """It was heard before; what it says from an address that nothing names may be a refusal."""
    office = Loopback(stack)
    call, leg = office.answered()
    office.told(leg, e.MediaSourceFound(leg, own=True))
    with office.loop.lock:
        before, call.rtp = call.rtp, office.caller.new_rtp()
        call.rtp.play(None)
    before.close()
    office.meanwhile(lambda: call.offer(call._sdp()))
    with Stranger() as elsewhere:

        def told() -> bool:
            elsewhere.press([where(call)], "9")
            return bool(office.of(ForeignMedia))

        office.until(told, "word of who is not heard")
    assert not office.of(ForeignMedia)[0].heard
    call.rtp.play(SteadyTone(DESK_HZ))
    office.until(lambda: office.facts(leg).count(e.MediaSourceFound(leg, own=True)) == 2, "the new peer")
    assert keys(office, leg) == []


@scene
def test_the_peer_is_the_same_after_a_hold(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    office.engine.listen(leg)
    office.told(leg, e.MediaArrived(leg))
    office.meanwhile(call.hold)
    office.told(leg, e.LegHeld(leg, sends=True))
    office.meanwhile(call.resume)
    office.told(leg, e.LegResumed(leg))
    call.press("5")
    office.told(leg, e.DtmfPressed(leg, "5", "rfc4733"))
    with Stranger() as stranger:
        stranger.press([where(call)], "9")
        hears(office, leg, 0.2)
    assert keys(office, leg) == ["5"]


@scene
def test_the_audio_is_heard_wherever_it_stands_in_the_sdp(stack: ExitStack) -> None:
    office = Loopback(stack)
    rtp = office.caller.new_rtp()
    office.caller.new_rtp = lambda: rtp  # type: ignore[method-assign]
    video = "m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio"
    offer = sdp(rtp.address, (8, 0), 101, "sendrecv", 1).decode().replace("m=audio", video)
    call = office.caller.call(office.uri(), sdp=offer.encode())
    leg = office.incoming().leg
    office.engine.answer(leg)
    office.told(leg, e.MediaArrived(leg))
    call.press("5")
    office.told(leg, e.DtmfPressed(leg, "5", "rfc4733"))
