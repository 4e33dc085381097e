"""What a worker makes of its spec, and of what the supervisor says. The process itself: `tests.live`."""

import os
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from retention.records import Status
from sipagent.agent.board import BoardLost, OperatorsOffered
from sipagent.agent.figures import Telling
from sipagent.edge.plan import MediaAddresses, new_tokens
from sipagent.service.children import Alive, CallerRefused, Drain, Reload, WorkerSpec
from sipagent.service.worker import (
    PULSE_S,
    Pulse,
    WorkerOrders,
    WorkerRecorder,
    of_edge,
    over,
    recover_left,
    settings,
)
from tests import kept
from tests.configured import SMALL, read, with_keys
from tests.driving import ELSEWHERE, HERE, NUMBER, RULES, Stage
from tests.fake_engine import FakeEngine

EDGE = "sip:127.0.0.1:16000;lr"
TOKENS = new_tokens()


class Woken(FakeEngine):
    """An engine that counts who wakes it, or has been stopped."""

    times, stopped = 0, False

    def wake(self) -> None:
        if self.stopped:
            raise OSError("closed")
        self.times += 1


def spec(tmp_path: Path, text: str = SMALL) -> WorkerSpec:
    return WorkerSpec(
        *(
            3,
            ("127.0.0.1", 16005),
            EDGE,
            TOKENS,
            MediaAddresses("192.0.2.9", "203.0.113.7"),
            (20000, 20031),
            32,
        ),
        config=read(text, tmp_path / "config.toml"),
        rules=RULES,
        log_json=True,
        drain_s=60.0,
    )


@pytest.fixture
def engine() -> Woken:
    return Woken(lambda _: None)


@pytest.fixture
def orders(stage: Stage, engine: Woken) -> WorkerOrders:
    return WorkerOrders(60.0, stage.agent, engine)


def is_over(stage: Stage, orders: WorkerOrders) -> bool:
    telling = Telling(stage.agent.figures, lambda _: None)
    return over(stage.agent, orders, telling, Pulse(lambda _: None))


def test_sip_is_for_the_edge_and_media_for_the_network(tmp_path: Path, stage: Stage) -> None:
    keys = 'transport = "tcp"\nregistrar = "sip:127.0.0.9"\npublic_address = "203.0.113.7"'
    text = with_keys("operators", 'outbound_proxy = "sip:pbx.example.net"', with_keys("trunk", keys, SMALL))
    made = settings(spec(tmp_path, text), stage.agent, print)
    assert (made.listen, made.transport, made.registrar) == (("127.0.0.1", 16005), "udp", "")
    assert (made.media_address, made.rtp_ports) == ("192.0.2.9", (20000, 20031))
    assert made.public_address == "203.0.113.7"
    assert made.outbound_proxies == (EDGE, "sip:pbx.example.net")
    assert made.pbx == {"127.0.0.1", "pbx.example.net"}
    assert made.way_out == (("X-Sipagent", TOKENS.to_edge),)
    assert (made.hop_token, made.sip_peer) == (TOKENS.from_edge, ("127.0.0.1", 16000))
    rules = of_edge(replace(RULES, allowed=()))
    assert rules.source_allowed(HERE) and not rules.source_allowed(ELSEWHERE)


def test_only_as_many_workers_as_the_cores_have_room_for_come_before_all_else(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3})
    of = [settings(replace(spec(tmp_path), index=index), stage.agent, print) for index in (0, 63, 64)]
    assert [made.real_time for made in of] == [True, True, False]


# --- what the supervisor says ---


def test_it_drains_and_a_shorter_patience_counts(stage: Stage, orders: WorkerOrders, engine: Woken) -> None:
    assert not is_over(stage, orders)
    stage.greeted()
    orders.heard(Drain(60.0))
    assert engine.times == 1
    assert not is_over(stage, orders) and stage.agent.draining
    assert engine.names() == ["drain"], "who asks by OPTIONS is told"
    orders.heard(Drain(0.0))
    assert is_over(stage, orders)


def test_without_calls_it_is_over_at_once(stage: Stage, orders: WorkerOrders) -> None:
    orders.heard(Drain(60.0))
    assert is_over(stage, orders)


def test_other_rules_are_for_the_calls_to_come(
    tmp_path: Path, stage: Stage, orders: WorkerOrders, engine: Woken
) -> None:
    """The edge has let them in: who sends is the edge; sound may come from where the file says."""
    text = with_keys("recording", 'format = "wav"', SMALL)
    config = read(with_keys("trunk", 'media_sources = ["192.0.2.64/28"]', text), tmp_path / "config.toml")
    rules = replace(RULES, numbers=frozenset({"+33999999999"}), allowed=(ip_network("192.0.2.10/32"),))
    orders.heard(Reload(config, rules))
    assert not is_over(stage, orders)
    assert stage.agent.admission == of_edge(rules)
    assert engine.ordered("trust") == [((ip_network("192.0.2.64/28"),),)]
    assert engine.ordered("challenged_by") == [(rules.allowed, frozenset({"127.0.0.1"}))]
    leg = stage.invite(number=NUMBER)
    assert ("reject", leg, 404, None) in stage.engine.orders


def test_what_is_meant_for_a_call_goes_to_the_agent(
    stage: Stage, orders: WorkerOrders, engine: Woken, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: list[Any] = []
    monkeypatch.setattr(stage.agent, "post", posted.append)
    orders.heard(OperatorsOffered("some call", ()))
    assert (posted, engine.times) == ([OperatorsOffered("some call", ())], 1)


def test_without_a_supervisor_it_ends_with_the_calls_that_it_has(
    stage: Stage, orders: WorkerOrders, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.greeted()
    posted: list[Any] = []
    monkeypatch.setattr(stage.agent, "post", posted.append)
    orders.lost()
    assert posted == [BoardLost()]
    assert not is_over(stage, orders) and stage.agent.draining


def test_after_the_engine_has_been_stopped_nobody_is_woken(orders: WorkerOrders, engine: Woken) -> None:
    engine.stopped = True
    orders.heard(Drain(0.0))
    orders.lost()
    assert orders.ending_at is not None and orders.ending_at <= time.monotonic()


# --- refusals, over the death of a worker; and its pulse ---


@pytest.mark.parametrize("said", [True, False])
def test_a_refusal_that_only_the_supervisor_has_heard(tmp_path: Path, stage: Stage, said: bool) -> None:
    """The predecessor died before its commit; one of another call changes nothing."""
    row, other = kept.recording(), kept.recording(1)
    stage.archive.store.add_receipt(kept.receipt(row, decision="allowed", ended_at=None))
    part = stage.archive.open(row)
    part.write_bytes(b"sound")
    refused = kept.receipt(row if said else other, decision="refused", ended_at=None)
    recover_left(stage.agent, replace(spec(tmp_path), refused=(refused,)), (row.id,))
    assert (stage.archive.store.recording(row.id).status is Status.ERASED) == said
    assert stage.archive.store.receipt(row.id).decision == ("refused" if said else "allowed")
    assert not (said and part.exists())


def test_a_refusal_is_told_before_it_is_written_down(stage: Stage) -> None:
    told: list[CallerRefused] = []
    recorder = WorkerRecorder(stage.archive, "wav", stage.alerts.append)  # which does not run: it writes none
    recorder.send = told.append
    row = kept.recording()
    recorder.keep_receipt(kept.receipt(row, decision="allowed", ended_at=None))
    recorder.keep_receipt(refused := kept.receipt(row, decision="refused", ended_at=None))
    assert told == [CallerRefused(refused)]


def test_it_says_every_few_seconds_that_its_thread_goes_round() -> None:
    said: list[Alive] = []
    pulse = Pulse(said.append)
    for tick in range(100):
        pulse.look(1000.0 + tick * PULSE_S / 10)
    assert said == [Alive()] * 10
