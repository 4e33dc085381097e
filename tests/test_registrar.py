"""The trunk's account in its own process, on an engine that the test plays."""

import queue
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from sipagent.agent.engine import Incoming, RealmLearnt, Registration, Report
from sipagent.edge.plan import new_tokens
from sipagent.pjsip import PjsipEngine
from sipagent.service import registrar
from sipagent.service.children import NotRegistered, Ready, RegistrarSpec, ToSupervisor
from sipagent.service.control import Orders
from sipagent.service.registrar import keep, settings
from tests.configured import SMALL, read, with_keys
from tests.driving import Clock

YES, NO = Registration(True, 200, "OK"), Registration(False, 403, "Forbidden")
SILENCE = Registration(False, 0, "")
REALM = RealmLearnt("trunk")


class Account:
    """Answers each REGISTER by the next of these, and then is told that it is enough."""

    def __init__(self, *answers: Report) -> None:
        self.answers = list(answers)
        self.inbox: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self.orders = Orders(0.0)
        self.said: list[ToSupervisor] = []
        self.done: list[object] = []
        self.clock = Clock()
        self.at: list[float] = []
        self.polls = 0

    def poll(self, timeout_s: float) -> None:
        self.polls += 1
        assert self.polls < 1000, "it does not end"
        if not self.inbox.empty():  # something has come: it returns at once
            return
        self.clock.now += timeout_s
        if not self.answers:
            self.orders.end()

    def register(self) -> None:
        self.at.append(self.clock.now)
        self.inbox.put(self.answers.pop(0))

    def unregister(self) -> None:
        self.done.append("unregister")
        self.inbox.put(Registration(False, 200, "OK"))

    def reject(self, leg: int, status: int, retry_after_s: int | None) -> None:
        self.done.append((leg, status))


@pytest.mark.parametrize(
    ("answers", "said", "done", "waits"),
    [
        ([YES], [Ready()], ["unregister"], []),
        ([NO, SILENCE, NO, YES], [NotRegistered()] * 3 + [Ready()], ["unregister"], [1.0, 2.0, 4.0]),
        ([NO], [NotRegistered()], [], []),  # who is not registered need not leave
        ([REALM], [REALM], [], []),
        ([Incoming(7, "127.0.0.1:16000", "INVITE")], [], [(7, 503)], []),  # calls are not for it
    ],
)
def test_it_says_whether_it_is_registered_asks_again_later_and_later_and_leaves_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
    answers: list[Report],
    said: list[ToSupervisor],
    done: list[object],
    waits: list[float],
) -> None:
    account = Account(*answers)
    monkeypatch.setattr(registrar, "time", account.clock)
    keep(cast(PjsipEngine, account), account.inbox, account.said.append, account.orders)
    assert (account.said, account.done) == (said, done)
    assert [after - before for before, after in pairwise(account.at)] == pytest.approx(waits)


def test_its_way_out_is_the_edge_and_its_realm_that_of_the_trunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNK", "secret")
    keys = 'registrar = "sip:127.0.0.9"\nusername = "agent"\npassword_env = "TRUNK"\nrealm = "trunk"'
    config = read(with_keys("trunk", keys, SMALL), tmp_path / "config.toml")
    tokens = new_tokens()
    spec = RegistrarSpec(("127.0.0.1", 16001), "sip:127.0.0.1:16000;lr", tokens, config, log_json=True)
    made = settings(spec, queue.SimpleQueue())
    assert made.way_out == (("X-Sipagent", tokens.to_edge),)
    assert (made.hop_token, made.sip_peer) == (tokens.from_edge, ("127.0.0.1", 16000))
    assert (made.listen, made.transport) == (("127.0.0.1", 16001), "udp")
    assert (made.registrar, made.registrar_proxies) == ("sip:127.0.0.9", ("sip:127.0.0.1:16000;lr",))
    assert made.trunk is not None and made.trunk.realm == "trunk"
