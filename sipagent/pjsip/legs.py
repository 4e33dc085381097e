"""Legs turn the library's callbacks into reports; nothing is decided here.

    Leg, Player    the native objects with callbacks
    Referring      REFER on one leg, both ways, without the library's own transfers: those dial any
                        target that a message names. An incoming REFER is answered at once, by the targets
                        that the flow has allowed beforehand; the library asks nobody then. NOTIFYs report
                        how it goes. A REFER of ours is an ordinary request of the dialog, and so is each
                        NOTIFY after it.

Their later duties, which `poll` of each does:

    Awareness    tells a device in SDP that it is recorded (RFC 7866 section 6.1), if the device says that it
                 understands. A change goes out as a re-INVITE, one at a time and only while the leg can
                 take one: not while it holds us, as an offer of ours might end its hold, and after a glare
                 only once its time is over.
    Doubt        legs from which nothing comes though they say that they send: many phones that hold offer
                 music of their own and send nothing
    Leaving      legs that are given up: while nothing has answered, a leg can't be cancelled, for a
                 CANCEL waits for a provisional response (RFC 3261 section 9.1)
"""

import random
import re
import time
from collections.abc import Collection
from typing import Protocol

import pjsua2 as pj

from sipagent.agent.engine import Headers, LegFailed, OfLeg, RealmLearnt, SoundEnded
from sipagent.agent.quality import Stream
from sipagent.call import events as e
from sipagent.call.events import RETRY_AFTER_S, Indication
from sipagent.config.identity import MAX_FORWARDS, call_id, header_of, info_digit
from sipagent.pjsip import library
from sipagent.pjsip.accounts import Owner, SipAccount, guarded_callback
from sipagent.pjsip.ears import Ear
from sipagent.pjsip.library import is_settled, order, remote_sdp, with_headers
from sipagent.sip import messages
from sipagent.sip.messages import (
    body_of,
    challenge_realm,
    declines_recording,
    record_aware,
    signalling_source,
    takes_events,
    with_record,
)
from sipagent.sip.session_description import NO_MEDIA, NotAcceptable

METHODS: dict[int, e.Method] = {
    pj.PJSUA_DTMF_METHOD_RFC2833: "rfc4733",
    pj.PJSUA_DTMF_METHOD_SIP_INFO: "info",
}

GLARE = re.compile(r"SIP/2\.0 (491|500) (?s:.*?)^CSeq:\s*\d+\s+INVITE\b", re.MULTILINE | re.IGNORECASE)

NOT_READ = 415  # an INFO about something else than keys
NOT_ACCEPTABLE = 488
MOVED = 302  # or another of RFC 3261 section 21.3: none is followed


class LegOwner(Owner, Protocol):
    """The engine, as its legs and what judges their messages know it."""

    @property
    def capacity(self) -> int:
        """How many legs it can have at once."""

    @property
    def live(self) -> "Collection[Leg]":
        """Those that have not ended."""

    def signalled(self, leg: "Leg", address: str) -> None:
        """The leg's SIP comes from this address."""

    def named(self, leg: "Leg") -> None:
        """The leg's Call-ID is known."""

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

    def has_sockets(self, leg: "Leg", prm: pj.OnCreateMediaTransportParam) -> None:
        """The library has made sockets for a line of a leg's media. Raises OSError."""

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
        self.sent_before_ms = 0.0  # to its leg, on the present stream, before it could be heard there

    def onEof2(self) -> None:  # on the event worker: dropping the player here would be use after free
        self.engine.settings.report(SoundEnded(self.leg, self.token, self.waited_s))
        self.engine.wake()


class Leg(pj.Call):
    """Translates one call of the engine's; it decides nothing."""

    def __init__(
        self, engine: LegOwner, account: SipAccount, call_id: int = -1, number: int | None = None
    ) -> None:
        super().__init__(account, call_id)
        self.engine = engine
        self.account = account
        self.number = engine.next_number() if number is None else number
        self.call_id = ""
        self.incoming = call_id >= 0
        self.telephone_event = False
        self.record_aware = False
        self.indication: e.Indication = "off"  # the state of the tap for its device
        self.reached = False  # something has answered the INVITE
        self.farewell: pj.CallOpParam | None = None  # how to hang up as soon as that is so
        self.invite = 0  # our INVITE under way, as a native pointer
        self.uri = self.display = self.realm = ""
        self.source = ""  # the source of its latest message, by the socket
        self.headers: Headers = ()
        self.hops = MAX_FORWARDS
        self.ear: Ear | None = None
        self.stream = 0  # the library's, in memory
        self.player: Player | None = None
        self.peer: Leg | None = None
        self.referring = Referring()
        self.held = False
        self.silent_by_sdp = False  # the SDP says that it sends nothing
        self.failed = False
        self.refused = False  # its description is not acceptable
        self.has_media = False  # SDP has been agreed upon
        self.streams: list[Stream] = []  # that have ended
        self.audio = 0  # which section of the SDP is the one that is used
        self.over_ipv6: frozenset[int] = frozenset()  # which of them are
        self.received = -1
        self.received_at = 0.0
        self.moved = False  # a redirection: the library says 487 of it

    def tell(self, fact: e.Fact) -> None:
        self.engine.settings.report(OfLeg(self.number, fact))

    def signalled(self, message: str, source: str) -> None:
        """A message of the leg's has come from `source`, or by the edge from where that says."""
        if address := library.address(signalling_source(message, source, self.engine.settings.hop_token)):
            self.engine.signalled(self, address[0])

    def reads(self, message: str) -> None:
        """Read the device's attributes about recording, in any incoming message of the leg."""
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
    def onStreamCreated(self, prm: pj.OnStreamCreatedParam) -> None:
        """One for sound: there are no others."""
        self.stream = int(prm.stream)

    @guarded_callback
    def onStreamDestroyed(self, prm: pj.OnStreamDestroyedParam) -> None:
        """At the leg's end, whoever hangs up, and where other media are agreed upon: its last moment.

        A caller who offers more streams in a way that fails, and then hangs up, has it told twice: the second
        time it is freed, for the library has stopped a copy of it (`stop_media_stream` in pjsua_media.c).
        """
        if self.stream and (stream := library.stream_counted(self, prm.streamIdx)):
            self.streams.append(stream)
        self.stream = 0

    @guarded_callback
    def onCreateMediaTransport(self, prm: pj.OnCreateMediaTransportParam) -> None:
        try:
            self.engine.has_sockets(self, prm)
        except OSError as failure:  # no port, or no descriptor
            self.fails(f"its sockets: {failure.strerror}")

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
        self.tell(e.DtmfPressed(self.number, prm.digit, METHODS[prm.method], time.monotonic()))
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
            if not self.call_id:
                self.call_id = call_id(message)
                self.engine.named(self)
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
        kind, body = header_of(message, "Content-Type"), body_of(message)
        if digit := info_digit(kind, body):
            self.tell(e.DtmfPressed(self.number, digit, "info", time.monotonic()))
        library.respond(event, 200 if digit or not body else NOT_READ)

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
            library.give_up(self.invite, library.REQUEST_TIMEOUT)

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
        """The other side's answer to an offer of ours can't be taken: it gets BYE.

        Within a call an answer that takes the audio away changes nothing.
        """
        if reason.warning != NO_MEDIA or not self.received_at:
            self.refused = True
            self.fails(f"its session description: {reason}")

    def fails(self, reason: str) -> None:
        """End a leg whose needs can't be met, with 503 if it was not answered yet."""
        if not self.failed:
            self.failed = True
            self.engine.settings.report(LegFailed(self.number, reason))
            headers = (("Retry-After", str(RETRY_AFTER_S)),) if self.incoming else ()
            param = library.with_headers(library.with_status(503), headers)
            self.engine.later.append(lambda: self.getId() >= 0 and library.order(self.hangup, param))

    def packets(self) -> int:
        """RTP packets received and RTCP reports heard of so far; 0 while there is no media."""
        return sum(library.rtp_counted(self, self.audio))

    def streams_so_far(self) -> tuple[Stream, ...]:
        """With the one that there is now."""
        present = self.stream and library.stream_counted(self, self.audio)
        return (*self.streams, present) if present else tuple(self.streams)

    def sent_ms(self) -> float:
        """The sound sent on its present stream so far; 0 while there is no media."""
        return library.sound_sent_ms(self, self.audio)


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


SIPFRAG = "message/sipfrag;version=2.0"
REASONS = {100: "Trying", 200: "OK", 480: "Temporarily Unavailable", 486: "Busy Here", 603: "Decline"}
EXPIRES_S = 300  # longer than any ringing


class Referring:
    """The REFERs of a leg, both ways. It does not hold the leg: that would outlive its call."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()  # the targets of one REFER of the leg's
        self._asked = 0  # how many of its REFERs have been accepted
        self._event = "refer"  # of the NOTIFYs about the last of them
        self._awaited = False  # a REFER of ours has no answer yet
        self._transaction = 0  # its transaction's address, 0 where there is none
        self._current = 0  # its CSeq, 0 while that is not known
        self._earlier: set[int] = set()
        self._unclosed: int | None = None  # the final status of one whose subscription is not yet over
        self._sent = False

    def seen(self, leg: Leg, event: pj.SipEvent, message: str) -> None:
        """A transaction of the leg's has changed; `message`: what came, if something did."""
        if message.startswith("REFER "):
            self._on_refer(leg, event, message)
        elif message.startswith("NOTIFY "):
            self._on_notify(leg, event, message)
        elif self._awaited:
            self._on_progress(leg, event, message)

    # --- the leg asks ---

    def _on_refer(self, leg: Leg, event: pj.SipEvent, message: str) -> None:
        asked = messages.transfer_asked(message, self.allowed)
        if asked is None:
            library.respond(event, 403)
            leg.tell(e.TransferDenied(leg.number))
            return
        self.allowed = ()
        self._asked += 1
        if self._asked > 1:  # RFC 3515 section 2.4.6: the first needs none, and old phones know none
            self._event = f"refer;id={messages.cseq(message)}"
        library.respond(event, 202)
        leg.tell(e.TransferAsked(leg.number, *asked))

    def tell(self, leg: Leg, status: int, last: bool) -> None:
        """NOTIFY with a sipfrag (RFC 3515 section 2.4.5)."""
        state = "terminated;reason=noresource" if last else f"active;expires={EXPIRES_S}"
        notify = library.request("NOTIFY", ("Event", self._event), ("Subscription-State", state))
        notify.txOption.contentType = SIPFRAG
        notify.txOption.msgBody = f"SIP/2.0 {status} {REASONS.get(status, 'Not Possible')}\r\n"
        order(leg.sendRequest, notify)

    # --- we ask ---

    def refer(self, leg: Leg, uri: str, by: str) -> None:
        if self._current:
            self._earlier.add(self._current)
        self._awaited = self._sent = True
        self._transaction = self._current = 0
        request = library.request("REFER", ("Refer-To", f"<{uri}>"), ("Referred-By", f"<{by}>"))
        if not order(leg.sendRequest, request):
            self._answered(leg, 0)

    def give_up(self) -> None:
        transaction, self._transaction = self._transaction, 0
        if self._awaited and transaction:
            self._awaited = False
            # after 32 s the library would end the call (RFC 3261 section 12.2.1.2)
            library.give_up(transaction, library.REQUEST_TERMINATED)

    def _on_progress(self, leg: Leg, event: pj.SipEvent, message: str) -> None:
        if event.type != pj.PJSIP_EVENT_TSX_STATE:
            return
        body = event.body
        state = body.tsxState
        transaction = state.tsx
        if transaction.role != pj.PJSIP_ROLE_UAC or transaction.method != "REFER":
            return
        self._transaction = int(transaction.pjTransaction)
        if message:
            self._current = messages.cseq(message)
        if transaction.state in (pj.PJSIP_TSX_STATE_COMPLETED, pj.PJSIP_TSX_STATE_TERMINATED):
            self._answered(leg, transaction.statusCode)

    def _answered(self, leg: Leg, status: int) -> None:
        self._awaited, self._transaction = False, 0
        leg.tell(e.ReferAnswered(leg.number, status))

    def _on_notify(self, leg: Leg, event: pj.SipEvent, message: str) -> None:
        if not self._sent or not messages.is_about_refer(message):
            return  # the library says that it knows nothing of it
        library.respond(event, 200)
        status = messages.notified_status(message)
        if status is not None and not self._is_of_an_earlier_one(message, status):
            leg.tell(e.ReferNotified(leg.number, status))

    def _is_of_an_earlier_one(self, message: str, status: int) -> bool:
        """By its id; without one, what only repeats the last word of a subscription in order to end it."""
        over, unclosed = messages.ends_subscription(message), self._unclosed
        if over:
            self._unclosed = None
        elif status >= 200:
            self._unclosed = status
        id = messages.refer_id(message)
        return id in self._earlier if id is not None else over and status == unclosed


OFFER_AGAIN_S = 0.2  # for an engine in the middle of another offer


class Awareness(dict[Leg, float]):
    """When to try to tell the legs that have yet to learn of a change; and those that have."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[Leg] = set()

    def change(self, leg: Leg, indication: Indication) -> None:
        """The leg is recorded, or is not, from now on."""
        if leg.indication != indication:
            leg.indication = indication
            if leg.record_aware:
                self[leg] = 0.0

    def glare(self, leg: Leg) -> None:
        """Both sides had sent an offer at once: wait as long as RFC 3261 section 14.1 has it."""
        if leg not in self._told:
            return  # it was no offer of ours
        wait_s = random.uniform(0.0, 2.0) if leg.incoming else random.uniform(2.1, 4.0)
        self[leg] = time.monotonic() + wait_s

    def forget(self, leg: Leg) -> None:
        """The leg has ended."""
        self.pop(leg, None)
        self._told.discard(leg)

    def clear(self) -> None:
        super().clear()
        self._told.clear()

    def poll(self, now: float) -> None:
        """Send the re-INVITE to legs that can take it. Never within a callback."""
        for leg, due in list(self.items()):
            if due > now or leg.held:
                continue
            if is_settled(leg.getId()) and order(leg.reinvite, pj.CallOpParam()):
                del self[leg]
                self._told.add(leg)
            else:
                self[leg] = now + OFFER_AGAIN_S


DOUBT_S = 0.6  # how long a holder may leave the other side in silence before our music comes
PACKET_S = 0.02
WATCH_S = 5.0  # between two looks at whether legs still send


class Doubt(dict[Leg, tuple[float, int]]):
    """The holders that say that they send: since when, and how many packets had come by then.

    `media_timeout_s`: how long any other leg may send nothing.
    """

    def __init__(self, media_timeout_s: float) -> None:
        super().__init__()
        self._media_timeout_s = media_timeout_s
        self._watched_at = 0.0

    def begin(self, leg: Leg) -> None:
        """The leg holds from now on, and says that it sends."""
        self[leg] = (time.monotonic(), leg.packets())

    def poll(self, now: float, legs: Collection[Leg]) -> None:
        """Tell of those that hold still and have sent less than half of what they should, and of silence."""
        for leg, (since, packets) in list(self.items()):
            if not leg.held:
                del self[leg]
            elif now - since > DOUBT_S:
                del self[leg]
                if leg.packets() - packets < DOUBT_S / 2 / PACKET_S:
                    leg.tell(e.LegHeld(leg.number, sends=False))
        if legs and now - self._watched_at > WATCH_S:
            self._watched_at = now
            for leg in list(legs):
                self._watch(leg, now)

    def _watch(self, leg: Leg, now: float) -> None:
        """Report once a leg that has to send and doesn't, neither RTP nor RTCP (RFC 3550 section 6.3.5)."""
        if leg.received_at and leg.hasMedia():
            packets = leg.packets()
            if packets != leg.received or leg.silent_by_sdp or leg.held:
                leg.received, leg.received_at = packets, now
            elif now - leg.received_at > self._media_timeout_s:
                leg.received_at = 0.0
                leg.tell(e.MediaLost(leg.number))


LINGER_S = 4.0  # how much longer something may answer for a phone that is given up, and get its CANCEL
ELSEWHERE = ("Reason", 'SIP;cause=200;text="Call completed elsewhere"')  # RFC 3326 section 2


class Leaving(dict[Leg, float]):
    """Those that linger, and until when."""

    def hang_up(self, leg: Leg, elsewhere: bool) -> None:
        """End a leg now, or when something answers, or a few seconds later."""
        param = with_headers(pj.CallOpParam(), (ELSEWHERE,) if elsewhere else ())
        if leg.incoming or leg.reached:
            order(leg.hangup, param)
        else:
            self.setdefault(leg, time.monotonic() + LINGER_S)
            leg.farewell = param

    def poll(self, now: float) -> None:
        """End those for which nothing answers: the library would wait for 32 s."""
        for leg, until in list(self.items()):
            if until <= now:
                del self[leg]
                leg.give_up()
