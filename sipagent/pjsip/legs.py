"""The native objects with callbacks: what the library calls becomes a report, and nothing is decided here."""

import re
import time
from typing import Protocol

import pjsua2 as pj

from media.frame import FRAME_SAMPLES, SAMPLE_RATE
from sipagent.agent.engine import (
    Headers,
    LegFailed,
    OfLeg,
    RealmLearnt,
    SoundEnded,
)
from sipagent.call import events as e
from sipagent.call.timing import RETRY_AFTER_S
from sipagent.config.identity import MAX_FORWARDS, call_id, header_values, info_digit
from sipagent.pjsip import setup, stream
from sipagent.pjsip.accounts import Account
from sipagent.pjsip.callbacks import Owner, guarded_callback
from sipagent.pjsip.negotiated import remote_sdp
from sipagent.pjsip.referring import Referring
from sipagent.pjsip.text import (
    body_of,
    challenge_realm,
    declines_recording,
    record_aware,
    signalling_source,
    takes_events,
    with_record,
)
from sipagent.sip.session_description import NO_MEDIA, NotAcceptable

FRAME_US = FRAME_SAMPLES * 1_000_000 // SAMPLE_RATE
METHODS: dict[int, e.Method] = {
    pj.PJSUA_DTMF_METHOD_RFC2833: "rfc4733",
    pj.PJSUA_DTMF_METHOD_SIP_INFO: "info",
}

GLARE = re.compile(r"SIP/2\.0 (491|500) (?s:.*?)^CSeq:\s*\d+\s+INVITE\b", re.MULTILINE | re.IGNORECASE)

NOT_READ = 415  # an INFO about something else than keys
NOT_ACCEPTABLE = 488
MOVED = 302  # or another of RFC 3261 section 21.3: none is followed


class LegOwner(Owner, Protocol):
    """What legs tell the engine, beyond what they report."""

    def signalled(self, leg: "Leg", address: str) -> None:
        """The leg's SIP comes from this address."""

    def responded(self, message: str, source: str) -> None:
        """A response has come."""

    def refused(self, message: str) -> NotAcceptable | None:
        """Why the library has not seen what is described in a response; None where it has."""

    def heeds(self, message: str, source: str) -> bool:
        """Whether a response may ask for a password."""

    def reached(self, leg: "Leg") -> None:
        """Something has answered our INVITE."""

    def confirmed(self, leg: "Leg") -> None:
        """The call stands."""

    def has_sockets(self) -> None:
        """The library has made sockets for a leg's media."""

    def agreed(self, leg: "Leg") -> None:
        """SDP has been agreed upon, for the first time or anew."""

    def doubts(self, leg: "Leg") -> None:
        """The leg holds from now on, and says that it sends."""

    def glare(self, leg: "Leg") -> None:
        """Both sides have sent an offer at once."""

    def disconnected(self, leg: "Leg", status: int, message: str) -> None:
        """The leg is over."""


class Player(pj.AudioMediaPlayer):
    def __init__(self, engine: Owner, leg: int, token: int) -> None:
        super().__init__()
        self.engine = engine
        self.leg = leg
        self.token = token
        self.waited_s = 0.0

    def onEof2(self) -> None:  # on the event worker: dropping the player here would be use after free
        self.engine.settings.report(SoundEnded(self.leg, self.token, self.waited_s))
        self.engine.wake()


class Ear(pj.AudioMediaPort):
    """Hears a leg in frames of 100 ms, which the bridge gathers: a fifth of the calls into Python.

    It is used for leg after leg (-1: none) and never destroyed while the bridge's clock runs: the clock
    would call into a Python object whose attributes are gone.
    """

    def __init__(self, engine: Owner, leg: int) -> None:
        super().__init__()
        self.engine = engine
        self.leg = leg
        audio = pj.MediaFormatAudio()
        audio.init(pj.PJMEDIA_FORMAT_PCM, SAMPLE_RATE, 1, FRAME_US, 16)
        self.createPort(f"ear{leg}", audio)

    @guarded_callback
    def onFrameReceived(self, frame: pj.MediaFrame) -> None:
        self.engine.settings.audio(self.leg, self.engine.samples_of(frame), time.monotonic())


class Leg(pj.Call):
    """Translates one call of the engine's; it decides nothing."""

    def __init__(
        self, engine: LegOwner, account: Account, call_id: int = -1, number: int | None = None
    ) -> None:
        super().__init__(account, call_id)
        self.engine = engine
        self.account = account
        self.number = engine.next_number() if number is None else number
        self.call_id = ""
        self.incoming = call_id >= 0
        self.telephone_event = False
        self.record_aware = False
        self.indication: e.Indication = "off"  # what its device is to know of the tap
        self.reached = False  # something has answered the INVITE
        self.farewell: pj.CallOpParam | None = None  # how to hang up as soon as that is so
        self.invite = 0  # our INVITE under way, as a native pointer
        self.uri = self.display = self.realm = ""
        self.source = ""  # where its latest message came from, as the socket says
        self.headers: Headers = ()
        self.hops = MAX_FORWARDS
        self.ear: Ear | None = None
        self.player: Player | None = None
        self.peer: Leg | None = None
        self.referring = Referring()
        self.held = False
        self.silent_by_sdp = False  # the SDP says that it sends nothing
        self.failed = False
        self.refused = False  # what it describes is not acceptable
        self.has_media = False  # SDP has been agreed upon
        self.audio = 0  # which section of the SDP is the one that is used
        self.received = -1
        self.received_at = 0.0
        self.moved = False  # a redirection: the library says 487 of it

    def tell(self, fact: e.Fact) -> None:
        self.engine.settings.report(OfLeg(self.number, fact))

    def signalled(self, message: str, source: str) -> None:
        """A message of the leg's has come from `source`, or by the edge from where that says."""
        if address := stream.ipv4(signalling_source(message, source, self.engine.settings.hop_token)):
            self.engine.signalled(self, address[0])

    def reads(self, message: str) -> None:
        """What the device says of recording, in any message of the leg's that comes in."""
        self.record_aware = self.record_aware or record_aware(message)
        if declines_recording(body_of(message)):
            self.tell(e.RecordingDeclined(self.number))

    @guarded_callback
    def onCallSdpCreated(self, prm: pj.OnCallSdpCreatedParam) -> None:
        """An offer or an answer of ours is about to go out."""
        if self.record_aware:
            sdp = prm.sdp
            sdp.wholeSdp = with_record(sdp.wholeSdp, self.indication)

    @guarded_callback
    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        message = self._received(prm.e)
        if info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            self.reached = True
            if not self.has_media:
                self.refuses(NotAcceptable(NO_MEDIA, "there is none"))
            self.received_at = time.monotonic()
            self.engine.confirmed(self)
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            status = NOT_ACCEPTABLE if self.refused else MOVED if self.moved else info.lastStatusCode
            self.engine.disconnected(self, status, message)

    @guarded_callback
    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:
        try:
            self._media_changed()
        except (pj.Error, OSError) as failure:  # it would be a call in silence
            self.fails(f"its media: {failure}")

    def _media_changed(self) -> None:
        info = self.getInfo()
        media = info.media
        for place in range(len(media)):
            one = media[place]  # those in use alone: its section of the SDP is `index`
            if one.type == pj.PJMEDIA_TYPE_AUDIO:
                self._media_is(one.status, one.dir)
                if one.status == pj.PJSUA_CALL_MEDIA_ERROR:
                    self.fails("the library has no media for it")
                if one.status not in (pj.PJSUA_CALL_MEDIA_NONE, pj.PJSUA_CALL_MEDIA_ERROR):
                    self.audio, self.has_media = one.index, True
                    self._agreed(remote_sdp(self.getId()), one.index)
        self.engine.agreed(self)

    @guarded_callback
    def onCallMediaTransportState(self, prm: pj.OnCallMediaTransportStateParam) -> None:
        if prm.state == pj.PJSUA_MED_TP_IDLE:  # they have just been made
            self.engine.has_sockets()

    def _agreed(self, sdp: str, index: int) -> None:
        """Of a section of the other side's SDP: how its keys come, and what it wishes.

        Also where it stands in an ACK, which no other callback shows within a call.
        """
        events = takes_events(sdp, index)
        if events != self.telephone_event:
            self.telephone_event = events
            self.tell(e.KeysNegotiated(self.number, events))
        if declines_recording(sdp):
            self.tell(e.RecordingDeclined(self.number))

    def _media_is(self, status: int, direction: int) -> None:
        held = status == pj.PJSUA_CALL_MEDIA_REMOTE_HOLD
        self.silent_by_sdp = not direction & pj.PJMEDIA_DIR_DECODING
        was_held, self.held = self.held, held
        if held and not was_held:
            self.tell(e.LegHeld(self.number, sends=not self.silent_by_sdp))
            if not self.silent_by_sdp:
                self.engine.doubts(self)
        elif was_held and not held:
            self.tell(e.LegResumed(self.number))

    @guarded_callback
    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:
        """On the media's thread where it came by RTP."""
        self.tell(e.DtmfPressed(self.number, prm.digit, METHODS[prm.method]))
        self.engine.wake()

    @guarded_callback
    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:
        message = self._received(prm.e)
        if GLARE.match(message):
            self.engine.glare(self)
        self._follow(prm.e, message)
        self.referring.seen(self, prm.e, message)

    def _received(self, event: pj.SipEvent) -> str:
        """The message that an event came with, empty where there is none."""
        message, source = _message(event)
        if message:
            self.call_id = self.call_id or call_id(message)
            self.source = source
            if message.startswith("SIP/2.0 "):
                self.engine.responded(message, source)
            if message.startswith("SIP/2.0 2") and (reason := self.engine.refused(message)):
                self.refuses(reason)
            self.signalled(message, source)
            self.reads(message)
        return message

    def _informed(self, event: pj.SipEvent, message: str) -> None:
        """Answer an INFO: the library does not read it then, which a body of `Signal=5` without a line's end
        would end.
        """
        kind, body = next(iter(header_values(message, "Content-Type")), ""), body_of(message)
        if digit := info_digit(kind, body):
            self.tell(e.DtmfPressed(self.number, digit, "info"))
        setup.respond(event, 200 if digit or not body else NOT_READ)

    def _follow(self, event: pj.SipEvent, message: str) -> None:
        """Answer INFO, and keep an eye on our INVITE; no word of it comes here once the leg is hung up."""
        body = event.body
        state = body.tsxState
        transaction = state.tsx
        if transaction.role == pj.PJSIP_ROLE_UAS:
            if transaction.method == "INFO" and transaction.state == pj.PJSIP_TSX_STATE_TRYING:
                self._informed(event, message)
            return
        if transaction.method != "INVITE":
            return
        under_way = transaction.state < pj.PJSIP_TSX_STATE_TERMINATED
        self.invite = int(transaction.pjTransaction) if under_way else 0
        if not self.reached and message.startswith("SIP/2.0 1"):
            self.reached = True
            self.engine.reached(self)

    def give_up(self) -> None:
        """Wait no longer for an answer to the INVITE; the leg is over then."""
        if self.invite and not self.reached:
            setup.give_up(self.invite, setup.REQUEST_TIMEOUT)

    def may_ring_again(self, message: str) -> bool:
        """Whether a challenge to our INVITE names the realm that we have a password for, and had not used."""
        asked = challenge_realm(message)
        if self.incoming or not asked or not self.engine.heeds(message, self.source):
            return False
        if self.account.learns and not self.account.realm:
            self.account.learn_realm(asked)
            self.engine.settings.report(RealmLearnt(asked, "operators"))
        return asked == self.account.realm != self.realm

    @guarded_callback
    def onCallTransferRequest(self, prm: pj.OnCallTransferRequestParam) -> None:
        prm.statusCode = 603  # never asked: `referring` has answered; the engine would dial what it names

    @guarded_callback
    def onCallReplaceRequest(self, prm: pj.OnCallReplaceRequestParam) -> None:
        prm.statusCode = 603

    def onCallRedirected(self, prm: pj.OnCallRedirectedParam) -> int:
        self.moved = True
        return pj.PJSIP_REDIRECT_STOP

    def refuses(self, reason: NotAcceptable) -> None:
        """What the other side has answered to an offer of ours can't be taken: it hears BYE.

        Within a call an answer that takes the audio away changes nothing.
        """
        if reason.warning != NO_MEDIA or not self.received_at:
            self.refused = True
            self.fails(f"its session description: {reason}")

    def fails(self, reason: str) -> None:
        """What it needs can't be had: it is over, with 503 where it was not answered yet."""
        if not self.failed:
            self.failed = True
            self.engine.settings.report(LegFailed(self.number, reason))
            headers = (("Retry-After", str(RETRY_AFTER_S)),) if self.incoming else ()
            param = setup.with_headers(setup.with_status(503), headers)
            self.engine.later.append(lambda: self.getId() >= 0 and setup.order(self.hangup, param))

    def packets(self) -> int:
        """RTP packets received and RTCP reports heard of so far; 0 while there is no media."""
        return sum(stream.counted(self, self.audio))


def _message(event: pj.SipEvent) -> tuple[str, str]:
    """The message that an event came with, and its sender; both empty where there is none.

    Every step is bound to a name: each object reads the memory of the one before it.
    """
    body = event.body
    if event.type == pj.PJSIP_EVENT_RX_MSG:  # an ACK
        received = body.rxMsg
        rdata = received.rdata
        return rdata.wholeMsg, rdata.srcAddress
    if event.type != pj.PJSIP_EVENT_TSX_STATE:
        return "", ""
    state = body.tsxState
    if state.type != pj.PJSIP_EVENT_RX_MSG:
        return "", ""
    source = state.src
    rdata = source.rdata
    return rdata.wholeMsg, rdata.srcAddress
