"""The engine for real, over both versions of IP: each leg's media speak what its peer does (RFC 6157)."""

from contextlib import ExitStack

from sipagent.agent.engine import LegFailed, RefusedByEngine
from sipagent.call import events as e
from sipagent.softphone.rtp import SteadyTone
from tests.loopback import CALLER_HZ, Loopback, scene
from tests.peers.stranger import Stranger

HERE, FOREIGN_HZ = "::1", 2000.0
BOTH = {"media_ipv6": (HERE, "")}


@scene
def test_a_caller_over_ipv6_and_an_operator_over_ipv4_hear_each_other(stack: ExitStack) -> None:
    """Through a hold, and with keys; others who send to the caller's port are not heard, and get nothing."""
    office = Loopback(stack, **BOTH)
    office.caller = office.phone("+33612345678", CALLER_HZ, media_ip=HERE)
    (call, leg), (desk, operator) = office.talking()
    assert (
        call.media and call.media.address[0] == HERE and desk.media and desk.media.address[0] == "127.0.0.1"
    )
    office.engine.listen(leg)
    office.meanwhile(call.hold)
    office.told(leg, e.LegHeld(leg, sends=True))
    office.meanwhile(call.resume)
    office.told(leg, e.LegResumed(leg))
    office.hear_each_other((call, leg), (desk, operator))
    stranger = stack.enter_context(Stranger(HERE))
    call.rtp.play(None)
    ports = [(HERE, port) for port in range(*office.engine.settings.rtp_ports)]
    for _ in range(30):
        stranger.say(ports, FOREIGN_HZ, frames=2)
        stranger.press(ports, "1")
        office.engine.poll(0.02)
    call.rtp.play(SteadyTone(CALLER_HZ))
    call.press("5")
    office.told(leg, e.DtmfPressed(leg, "5", "rfc4733"))
    assert (office.keys(leg), stranger.heard()) == ("5", 0)
    office.hangs_up(call, leg)


@scene
def test_a_call_stays_with_its_version_of_ip(stack: ExitStack) -> None:
    """An offer within it that names another is refused, and it goes on; an answer that does ends the leg."""
    office = Loopback(stack, **BOTH)
    call, leg = office.answered()
    other = call._sdp().replace(b"IN IP4 127.0.0.1", b"IN IP6 ::1")
    assert office.asks(call, "INVITE", other).status == 488
    office.meanwhile(call.hold)
    office.told(leg, e.LegHeld(leg, sends=True))
    office.desk.media_ip = HERE
    rung = office.dial()
    office.gone(rung)
    assert [one.reason for one in office.of(LegFailed)] == ["its session description: there is none"]
    office.hangs_up(call, leg)


@scene
def test_where_ipv6_alone_is_spoken_that_is_offered_and_taken(stack: ExitStack) -> None:
    office = Loopback(stack, **BOTH, media_ipv4=False)
    office.caller.call(office.uri())
    office.until(lambda: office.of(RefusedByEngine), "refusal of IPv4")
    office.desk.media_ip = HERE
    _, rung = office.dialled()
    office.engine.listen(rung)
    office.until(lambda: rung in office.heard, "sound of the operator's")
    office.engine.hang_up(rung)
    office.gone(rung)
