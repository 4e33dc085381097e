"""The edge as it is delivered, with phones in the place of workers, trunk, operators and strangers."""

from __future__ import annotations

import ipaddress
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from sipagent.config.load import HostPort
from sipagent.edge.files import kept_tokens, places
from sipagent.edge.plan import HOP_HEADER, Addresses, Plan
from sipagent.edge.process import EdgeProcess
from sipagent.edge.rpc import EdgeStatistics, RejectedCall
from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Call, Loop, Phone, Transaction
from sipagent.softphone.sip import Headers, Message, sdp
from tests.peers.process import PeerError, free_ports

TRUNK, STRANGER, OPERATOR, OURS = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
NUMBER = "0323063006"
WORKERS, CALLS_EACH = 3, 2
WORKING = Answering(after_s=0.05)


def plan(**changes: Any) -> Plan:
    """Three workers with two calls each; the trunk is one address, the operators another."""
    first = free_ports(WORKERS + 4)
    usual = Plan(
        workers=WORKERS,
        calls=WORKERS * CALLS_EACH,
        calls_per_worker=CALLS_EACH,
        invites_per_s=1000,
        first_port=first,
        last_port=first + WORKERS + 3,
        listen=HostPort(OURS, free_ports(1, OURS)),
        advertised=OURS,
        transport="udp",
        tls=None,
        addresses=Addresses(OURS, (ipaddress.ip_network(TRUNK),)),
        registrar="",
        user="agent",
        full_status=503,
    )
    return replace(usual, **changes)


class Edge:
    """A running edge whose `workers` answer after a moment, and whoever sends to it."""

    def __init__(self, directory: Path, loop: Loop, plan: Plan) -> None:
        self.said: list[RejectedCall | str] = []
        self.tokens = kept_tokens(places(directory))
        self.process = EdgeProcess(plan, directory, self.said.append)
        self.loop, self.plan = loop, plan
        self.workers = [self.worker(index) for index in range(plan.workers)]
        self.trunk = Phone(loop, "+33612345678", TRUNK)
        self.operator = Phone(loop, "201", OPERATOR)
        self.operator.answer = WORKING
        self.stranger = Phone(loop, "mallory", STRANGER)
        self.phones = [*self.workers, self.trunk, self.operator, self.stranger]

    def phone(self, ip: str, user: str = "somebody") -> Phone:
        """One more."""
        phone = Phone(self.loop, user, ip)
        phone.answer = WORKING
        self.phones.append(phone)
        return phone

    def worker(self, index: int) -> Phone:
        phone = Phone(self.loop, "agent", *self.plan.worker(index))
        phone.answer = WORKING
        return phone

    def start(self) -> Edge:
        self.process.start()
        for index in range(self.plan.workers):
            self.process.rpc.activate(index)
        return self

    def close(self) -> None:
        self.process.stop()
        for phone in self.phones:
            phone.close()

    @property
    def address(self) -> tuple[str, int]:
        return self.plan.listen

    def uri(self, number: str = NUMBER) -> str:
        return f"sip:{number}@{self.plan.listen}"

    def call(self, phone: Phone | None = None, **how: Any) -> Call:
        """An INVITE from the trunk, or from somebody else."""
        return (phone or self.trunk).call(self.uri(), **how)

    def answered(self, phone: Phone | None = None, **how: Any) -> tuple[Call, Call, int]:
        """A call that a worker has answered: the caller's side, the worker's, and which worker it is."""
        call = self.call(phone, **how)
        call.wait_answered(PATIENCE_S)
        index, taken = self.taken(call)
        taken.wait_acked(PATIENCE_S)
        return call, taken, index

    def taken(self, call: Call) -> tuple[int, Call]:
        """The worker that has a caller's call."""
        for index, worker in enumerate(self.workers):
            for one in worker.calls:
                if one.call_id == call.call_id and one.ended_ns is None:
                    return index, one
        raise PeerError("no worker has the call")

    def dialled(self, index: int, **how: Any) -> tuple[Call, Call]:
        """An operator whom a worker has called: the worker's side and the operator's."""
        self.operator.skip_calls()
        call = self.dial(index, self.operator.uri, **how)
        call.wait_answered(PATIENCE_S)
        other = self.operator.wait_call(PATIENCE_S)
        other.wait_acked(PATIENCE_S)
        return call, other

    def dial(self, index: int, uri: str, *, headers: Headers = (), **how: Any) -> Call:
        """An INVITE of a worker's, with the secret that the edge wants to see."""
        return self.workers[index].call(
            uri, proxy=self.plan.inner, headers=(*headers, (HOP_HEADER, self.tokens.to_edge)), **how
        )

    def asked(
        self,
        phone: Phone,
        method: str,
        *more: tuple[str, str],
        to: str = "",
        hops: int = 70,
        uri: str = "",
        by: tuple[str, int] | None = None,
    ) -> Transaction:
        """A request of a phone's that begins something, not yet sent."""
        ip, port = phone.address
        headers = (
            ("Via", f"SIP/2.0/UDP {ip}:{port};rport;branch=z9hG4bK{secrets.token_hex(8)}"),
            ("Max-Forwards", str(hops)), ("From", f"<{phone.uri}>;tag=1"), ("To", to or f"<{self.uri()}>"),
            ("Call-ID", secrets.token_hex(8)), ("CSeq", f"1 {method}"), ("Contact", f"<{phone.uri}>"), *more,
        )  # fmt: skip
        request = Message(f"{method} {uri or self.uri()} SIP/2.0", headers)
        return Transaction(request, by or self.address, lambda _: None)

    def intruding(
        self, phone: Phone, call: Call, method: str, body: bytes = b"", number: int = 0
    ) -> Transaction:
        """A request of a phone's within the dialog of another's call, not yet sent."""
        kind: Headers = (("Content-Type", "application/sdp"),) if body else ()
        request = call._request(method, number or call._cseq + 50, kind, body)
        ip, port = phone.address
        own = {
            "Via": f"SIP/2.0/UDP {ip}:{port};rport;branch=z9hG4bK{secrets.token_hex(8)}",
            "Contact": f"<{phone.uri}>",
        }
        headers = tuple((name, own.get(name, value)) for name, value in request.headers)
        return Transaction(Message(request.start, headers, body), call._next_hop(), lambda _: None)

    def sends(self, phone: Phone, transaction: Transaction) -> None:
        """Send a request and repeat it until something answers."""
        with self.loop.changing():
            phone.request(transaction)

    def ignores(self, phone: Phone, transaction: Transaction) -> None:
        """Send a request, once: it is counted as a stranger's, and neither answered nor passed on."""
        before, sent = self.statistics.strangers, transaction.request
        known = self._heard(phone, sent)
        with self.loop.changing():
            phone.send(sent, transaction.to)
        self.until(lambda: self.statistics.strangers > before, "count of what is dropped")
        assert self._heard(phone, sent) == known

    def _heard(self, phone: Phone, sent: Message) -> list[str]:
        """What has come to anybody that may be this message, or an answer to it."""
        wanted = (sent.header("Call-ID"), sent.header("CSeq"))
        with self.loop.lock:
            seen = [one for other in {phone, *self.phones} for one in other.seen if not one.sent]
            return [
                one.describe() for one in seen
                if (one.message.header("Call-ID"), one.message.header("CSeq")) == wanted
                and (one.message.status or one.message.body == sent.body)
            ]  # fmt: skip

    def intruder(self, phone: Phone, call: Call, method: str) -> None:
        """Somebody sends within another's dialog, and is nobody in it."""
        offers = method in ("INVITE", "UPDATE")
        body = sdp((phone.address[0], 40000), (8,), None, "sendrecv", 1) if offers else b""
        self.ignores(phone, self.intruding(phone, call, method, body))

    def answer(self, phone: Phone, method: str, **how: Any) -> int:
        """The final status of a request."""
        answers: list[int] = []
        transaction = self.asked(phone, method, **how)
        transaction.on_response = lambda message: answers.append((message and message.status) or 408)
        self.sends(phone, transaction)
        phone.loop.wait_for(lambda: bool(answers) and answers[-1] >= 200, PATIENCE_S, f"answer to {method}")
        return answers[-1]

    def given(self, index: int) -> list[str]:
        """The calls that have been offered to a worker, by Call-ID, each once."""
        worker = self.workers[index]
        with self.loop.lock:
            invites = [one.message for one in worker.seen if one.describe() == "INVITE received"]
        return list(dict.fromkeys(one.header("Call-ID") for one in invites))

    def invites(self) -> int:
        """How many calls have been offered to workers."""
        return sum(len(self.given(index)) for index in range(len(self.workers)))

    def told(self, call_id: str) -> RejectedCall:
        """The one word of a rejected call."""
        self.until(lambda: call_id in [one.call_id for one in self.rejected], "word of the call")
        (word,) = (one for one in self.rejected if one.call_id == call_id)
        return word

    def work(self, answer: Answering = WORKING) -> None:
        """All workers answer so from now on."""
        for worker in self.workers:
            worker.answer = answer

    def killed(self) -> None:
        """As the kernel does it; what is left is stopped."""
        os.kill(self.process.pid, signal.SIGKILL)
        wait([self.process.sentinel], PATIENCE_S)
        assert not self.process.running
        self.process.stop()

    @property
    def rejected(self) -> list[RejectedCall]:
        return [one for one in self.said if isinstance(one, RejectedCall)]

    @property
    def statistics(self) -> EdgeStatistics:
        return self.process.rpc.statistics()

    def until(self, happened: Callable[[], object], what: str) -> None:
        """Wait for what only Kamailio knows; raises PeerError with its last words."""
        patience = time.monotonic() + PATIENCE_S
        while not happened():
            if time.monotonic() > patience:
                raise PeerError(f"no {what}; the edge said {self.said[-10:]}")
            time.sleep(0.02)

    def forgotten(self) -> None:
        """Until no dialog is kept: an ended one is, for the second in which its BYE may be repeated."""
        self.until(lambda: not self.process.rpc.ask("dlg.list"), "end of all dialogs")

    def kept(self, dialogs: int) -> None:
        """Until so many dialogs are in the files."""
        rows = self.process.directory / "dialogs" / "dialog"
        self.until(lambda: rows.read_bytes().count(b"\n") == 1 + dialogs, f"{dialogs} dialogs in the files")

    def idle(self) -> None:
        """Until no call is counted."""
        self.until(lambda: self.statistics.calls == 0, "end of all calls")


def hangs_up(one: Call, other: Call) -> None:
    """This side, and the other notices."""
    one.hang_up()
    other.wait_ended()


@contextmanager
def opened(directory: Path, **changes: Any) -> Iterator[Edge]:
    """A running edge of one's own."""
    with Loop() as loop:
        edge = Edge(directory, loop, plan(**changes))
        try:
            yield edge.start()
        finally:
            edge.close()
