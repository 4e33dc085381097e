"""REFER on one leg, both ways, without the library's own transfers: those dial whatever a message names.

A REFER that comes is answered at once, by what the flow has allowed beforehand; the library asks nobody
then. What becomes of it is told by NOTIFY. A REFER of ours is an ordinary request of the dialog, and so is
each NOTIFY that follows it.
"""

from typing import Protocol

import pjsua2 as pj

from sipagent.call import events as e
from sipagent.call import referral as r
from sipagent.pjsip import setup
from sipagent.pjsip.setup import order
from sipagent.sip import refer

SIPFRAG = "message/sipfrag;version=2.0"
REASONS = {100: "Trying", 200: "OK", 480: "Temporarily Unavailable", 486: "Busy Here", 603: "Decline"}
EXPIRES_S = 300  # longer than any ringing


class Referred(Protocol):
    """A leg, as far as a REFER needs it."""

    number: int

    def tell(self, fact: e.Fact) -> None: ...

    def sendRequest(self, param: pj.CallSendRequestParam) -> None: ...


class Referring:
    """What a leg has asked for and been asked. It does not hold the leg: that would outlive its call."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()  # where one REFER of the leg's may lead
        self._asked = 0  # how many of its REFERs have been accepted
        self._event = "refer"  # of the NOTIFYs about the last of them
        self._awaited = False  # a REFER of ours has no answer yet
        self._transaction = 0  # its transaction's address, 0 where there is none
        self._current = 0  # its CSeq, 0 while that is not known
        self._earlier: set[int] = set()
        self._unclosed: int | None = None  # the final status of one whose subscription is not yet over
        self._sent = False

    def seen(self, leg: Referred, event: pj.SipEvent, message: str) -> None:
        """A transaction of the leg's has changed; `message`: what came, if something did."""
        if message.startswith("REFER "):
            self._on_refer(leg, event, message)
        elif message.startswith("NOTIFY "):
            self._on_notify(leg, event, message)
        elif self._awaited:
            self._on_progress(leg, event, message)

    # --- the leg asks ---

    def _on_refer(self, leg: Referred, event: pj.SipEvent, message: str) -> None:
        asked = refer.transfer_asked(message, self.allowed)
        if asked is None:
            setup.respond(event, 403)
            leg.tell(r.TransferDenied(leg.number))
            return
        self.allowed = ()
        self._asked += 1
        if self._asked > 1:  # RFC 3515 section 2.4.6: the first needs none, and old phones know none
            self._event = f"refer;id={refer.cseq(message)}"
        setup.respond(event, 202)
        leg.tell(r.TransferAsked(leg.number, *asked))

    def tell(self, leg: Referred, status: int, last: bool) -> None:
        """NOTIFY with a sipfrag (RFC 3515 section 2.4.5)."""
        state = "terminated;reason=noresource" if last else f"active;expires={EXPIRES_S}"
        notify = setup.request("NOTIFY", ("Event", self._event), ("Subscription-State", state))
        notify.txOption.contentType = SIPFRAG
        notify.txOption.msgBody = f"SIP/2.0 {status} {REASONS.get(status, 'Not Possible')}\r\n"
        order(leg.sendRequest, notify)

    # --- we ask ---

    def refer(self, leg: Referred, uri: str, by: str) -> None:
        if self._current:
            self._earlier.add(self._current)
        self._awaited = self._sent = True
        self._transaction = self._current = 0
        request = setup.request("REFER", ("Refer-To", f"<{uri}>"), ("Referred-By", f"<{by}>"))
        if not order(leg.sendRequest, request):
            self._answered(leg, 0)

    def give_up(self) -> None:
        transaction, self._transaction = self._transaction, 0
        if self._awaited and transaction:
            self._awaited = False
            # after 32 s the library would end the call (RFC 3261 section 12.2.1.2)
            setup.give_up(transaction, setup.REQUEST_TERMINATED)

    def _on_progress(self, leg: Referred, event: pj.SipEvent, message: str) -> None:
        if event.type != pj.PJSIP_EVENT_TSX_STATE:
            return
        body = event.body
        state = body.tsxState
        transaction = state.tsx
        if transaction.role != pj.PJSIP_ROLE_UAC or transaction.method != "REFER":
            return
        self._transaction = int(transaction.pjTransaction)
        if message:
            self._current = refer.cseq(message)
        if transaction.state in (pj.PJSIP_TSX_STATE_COMPLETED, pj.PJSIP_TSX_STATE_TERMINATED):
            self._answered(leg, transaction.statusCode)

    def _answered(self, leg: Referred, status: int) -> None:
        self._awaited, self._transaction = False, 0
        leg.tell(r.ReferAnswered(leg.number, status))

    def _on_notify(self, leg: Referred, event: pj.SipEvent, message: str) -> None:
        if not self._sent or not refer.is_about_refer(message):
            return  # the library says that it knows nothing of it
        setup.respond(event, 200)
        status = refer.notified_status(message)
        if status is not None and not self._is_of_an_earlier_one(message, status):
            leg.tell(r.ReferNotified(leg.number, status))

    def _is_of_an_earlier_one(self, message: str, status: int) -> bool:
        """By its id; without one, what only repeats the last word of a subscription in order to end it."""
        over, unclosed = refer.is_over(message), self._unclosed
        if over:
            self._unclosed = None
        elif status >= 200:
            self._unclosed = status
        id = refer.refer_id(message)
        return id in self._earlier if id is not None else over and status == unclosed
