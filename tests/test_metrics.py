"""The figures: what they tell, as a scraper reads them over loopback; who may ask; and `sipagent status`."""

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from retention.records import Special
from sipagent import __version__
from sipagent.agent.agent import Agent
from sipagent.agent.engine import RefusedByEngine, Registration
from sipagent.agent.figures import Figures as Counted
from sipagent.agent.quality import Stream
from sipagent.agent.recorder import TapFault
from sipagent.call import events as e
from sipagent.config.load import HostPort
from sipagent.service import metrics
from sipagent.service.cluster import ShippingFigures
from sipagent.service.metrics import AT_ONCE, Metrics, Watch, serving
from sipagent.service.purging import Purging
from sipagent.service.sending import EventFigures
from sipagent.service.storing import StoringFigures
from tests.configured import SMALL, read, with_keys
from tests.driving import DESK, ELSEWHERE, HERE, SECOND_DESK, Stage, invite, staged
from tests.office import CONFIG, Office, make_office
from tests.raising import no_room
from tests.tapping import PATIENCE_S, wait_for

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]
ANY = HostPort("127.0.0.1", 0)


class Service:
    """A stage's agent with all that is scraped beside it; nothing but what a test starts runs."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        config = read(with_keys("metrics", 'listen = "127.0.0.1:9464"', SMALL), folder / "config.toml")
        self.stage = stage
        self.purging = Purging(config, stage.alerts.append)
        self.watch = Watch(lambda: self.purging.config)
        self.metrics = Metrics(stage.agent, self.purging, self.watch)

    def scraped(self) -> str:
        with serving(ANY, self.metrics) as where:
            return get(where)[2]

    def figures(self) -> Figures:
        """By name and labels."""
        families = text_string_to_metric_families(self.scraped())
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def __getitem__(self, name: str) -> float:
        return self.figures()[name, ()]

    def labelled(self, name: str) -> dict[tuple[str, ...], float]:
        """Values by the labels' own, in the order of their names."""
        return {
            tuple(value for _, value in labels): figure
            for (of, labels), figure in self.figures().items()
            if of == name
        }

    def purged(self) -> None:
        """One turn of the purge."""
        self.purging._do("purge", self.purging._turn)


def get(where: HostPort, method: str = "GET") -> tuple[int, str, str]:
    asking = http.client.HTTPConnection(where.host, where.port, timeout=PATIENCE_S)
    try:
        asking.request(method, "/metrics")
        answer = asking.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        asking.close()


def crashed(agent: Agent) -> Any:
    """As an agent counts whose worker has crashed."""
    fatal = {("INVITE", "3", "1500"): 1}

    def figures() -> Counted:
        return replace(agent.figures(), crashes=1, fatal=fatal, malformed=5, unsupported=2)

    return SimpleNamespace(
        limit=agent.limit, has_registered=agent.has_registered, figures=figures, specials=agent.specials
    )


OF_SEVERAL: dict[str, Any] = {
    **{"shared_database_up": True, "journal_rows_waiting": 3, "journal_lag_seconds": 1.5},
    **{"journal_used_ratio": 0.25, "shipping_failures": 2},
}
STORED: dict[str, Any] = {
    **{"object_store_up": False, "uploads_behind_seconds": 7.5, "uploads_waiting_bytes": 64_000},
    **{"uploaded_bytes": 9000, "upload_failures": 5, "removal_failures": 6, "removals_pending": 2},
}

TOLD: dict[str, Any] = {
    **{"events_delivered": 40, "event_failures": 8, "events_waiting": 9, "events_behind_seconds": 70.5},
    **{"events_given_up": 10},
}


def with_all(service: Service) -> Service:
    """Of a host among several, with an edge and a store of objects."""
    service.watch._try()
    metrics: Any = service.metrics
    metrics.counting, metrics.board = crashed(service.stage.agent), SimpleNamespace(shared=True, losses=3)
    metrics.shipping = SimpleNamespace(figures=ShippingFigures(**OF_SEVERAL))
    metrics.stored = SimpleNamespace(figures=StoringFigures(**STORED))
    metrics.sending = SimpleNamespace(is_on=True, figures=EventFigures(**TOLD))
    return service


@pytest.fixture
def service(stage: Stage, tmp_path: Path) -> Service:
    return Service(stage, tmp_path)


def test_calls_by_what_has_become_of_them(service: Service) -> None:
    figures = service.figures()
    assert figures["sipagent_build_info", (("version", __version__),)] == 1
    assert figures["sipagent_calls_limit", ()] == 1
    assert figures["sipagent_purge_last_success_timestamp_seconds", ()] == 0
    absent = ("sipagent_calls_total", "sipagent_recordings_kept", "sipagent_registered")
    assert not [name for name, _ in figures if name in absent]
    stage = service.stage
    caller, operator = stage.bridged()
    assert service["sipagent_calls_in_progress"] == 1
    stage.gone(caller)
    stage.gone(operator)
    stage.listened()
    refusing = stage.greeted(call_id="b")
    stage.tell(refusing, e.DtmfPressed(refusing, "9", "rfc4733"))
    stage.gone(refusing)
    stage.turn(RefusedByEngine(486, HERE, invite(call_id="c")))
    stage.gone(stage.invite(call_id="d"))
    assert service.labelled("sipagent_calls_total") == {
        # decided_by, decision, outcome
        ("silence", "allowed", "connected"): 1,
        ("dtmf", "refused", "abandoned"): 1,
        ("sip", "undecided", "rejected"): 1,
        ("nothing", "undecided", "abandoned"): 1,
    }
    assert service["sipagent_calls_in_progress"] == 0
    stage.invite(source=ELSEWHERE)
    stage.turn(RefusedByEngine(488, ELSEWHERE, invite()))
    assert service["sipagent_strangers_dropped_total"] == 2 and len(stage.receipts()) == 4


def test_how_the_line_was_is_a_histogram_of_each_side(service: Service) -> None:
    """Of G.722 there is no opinion; on a leg without a packet there is nothing to measure."""
    stage = service.stage
    streams = {
        "a": (Stream("PCMA", 980, lost=20, bursts=20, jitter_ms=7.0), Stream("PCMU", 100, jitter_ms=30.0)),
        "b": (Stream("G722", 100, lost=1, bursts=1, jitter_ms=2.0), Stream("PCMA", 0)),
    }
    for call_id, both in streams.items():
        legs = stage.bridged(call_id=call_id)
        stage.engine.counted = {leg: (one,) for leg, one in zip(legs, both, strict=True)}
        stage.gone(legs[0])
        stage.listened()
        stage.gone(legs[1])
    figures = {
        (name.removeprefix("sipagent_"), *dict(labels).values()): value
        for (name, labels), value in service.figures().items()
    }
    assert figures["line_mos_count", "caller"] == figures["line_mos_bucket", "4.34", "caller"] == 1
    assert figures["line_mos_bucket", "4.03", "caller"] == 0 < figures["line_mos_sum", "caller"] < 4.34
    loss = [figures["line_loss_ratio_bucket", edge, "caller"] for edge in ("0.005", "0.01", "0.02", "+Inf")]
    assert loss == [0, 1, 2, 2] and figures["line_loss_ratio_bucket", "0.0", "operator"] == 1
    assert figures["line_jitter_seconds_sum", "caller"] == pytest.approx(0.009)
    assert figures["line_jitter_seconds_bucket", "0.05", "operator"] == 1
    assert service["sipagent_calls_one_way_total"] == 1


def test_whether_the_registrar_knows_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(tmp_path, monkeypatch, registers=True) as stage:
        service = Service(stage, tmp_path)
        assert service["sipagent_registered"] == 0
        for active in (True, False):
            stage.turn(Registration(active=active, status=200 if active else 503, reason=""))
            assert service["sipagent_registered"] == active


def test_operators_who_were_rung_in_vain(service: Service) -> None:
    """By extension as it is configured."""
    stage = service.stage
    assert service.labelled("sipagent_operator_failures_total") == {}
    _, operator = stage.rung()
    stage.gone(operator, 503)
    stage.gone(max(stage.engine.dialled), 486)
    told = service.labelled("sipagent_operator_failures_total")
    assert told == {(DESK, "unreachable"): 1, (SECOND_DESK, "busy"): 1}


def test_faults_of_the_recorder(service: Service) -> None:
    stage = service.stage
    caller, operator = stage.bridged()
    (call,) = stage.agent.live
    assert call.tap is not None
    stage.talk(caller, operator)
    call.tap._backlog._drops = 3
    fails = no_room()
    stage.recorder._quick.put(fails)
    stage.recorder._slow.put(fails)
    stage.recorder._slow.put(lambda: 1 / 0)
    stage.gone(caller)
    stage.gone(operator)
    stage.listened()
    stage.settle()
    assert service["sipagent_tap_frames_dropped_total"] == 3 and stage.recording().incomplete
    stage.bridged(call_id="b")
    (call,) = stage.agent.live
    stage.agent.post(TapFault(call.id, "disk full"))
    stage.turn()
    assert service.labelled("sipagent_recorder_faults_total") == {
        ("tap",): 1, ("recorder",): 1, ("assembler",): 2,
    }  # fmt: skip
    assert len(stage.alerts) == 3


def test_what_only_a_host_of_several_or_with_an_edge_tells(service: Service) -> None:
    assert service["sipagent_worker_crashes_total"] == 0
    text = service.scraped()
    assert "journal" not in text and "upload" not in text and "board" not in text
    with_all(service)
    service.purging.failures.update(purge=2, erase=3, stamp=4)
    service.purged()
    service.watch.failures = 5
    assert service.labelled("sipagent_fatal_messages_total") == {("3", "INVITE", "1500"): 1}
    assert service.labelled("sipagent_messages_refused_total") == {("malformed",): 5, ("unsupported",): 2}
    told = {name.removesuffix("_total"): value for (name, labels), value in service.figures().items()}
    every = {"worker_crashes": 1, "board_shared": 1, "board_losses": 3, **OF_SEVERAL, **STORED, **TOLD}
    every |= {"purge_failures": 2, "erasure_failures": 3, "stamp_failures": 4, "watch_failures": 5}
    assert {name: told[f"sipagent_{name}"] for name in every} == every
    assert told["sipagent_recordings_kept"] == 0 and told["sipagent_disk_free_bytes"] > 0
    for when in ("watch", "purge"):
        assert told[f"sipagent_{when}_last_success_timestamp_seconds"] > 1e9


def test_names_are_as_prometheus_wants_them_and_nothing_leads_to_a_person(service: Service) -> None:
    with_all(service).stage.gone(service.stage.bridged()[0])
    service.stage.gone(service.stage.invite(call_id="b"))
    text = service.scraped()
    families = [one for one in text_string_to_metric_families(text) if one.name.startswith("sipagent_")]
    assert len(families) >= 19
    for family in families:
        assert re.fullmatch(r"sipagent(_[a-z]+)+", family.name)
        assert family.documentation.endswith("."), family.name
        counts = {sample.name for sample in family.samples if sample.name.endswith("_total")}
        assert (family.type == "counter") is bool(counts), family.name
        if "timestamp" in family.name or "bytes" in family.name:
            assert family.name.endswith(("_timestamp_seconds", "_bytes"))
    for personal in ("+336", "+333", "sip:", "201", "a84b4c76"):
        assert personal not in re.sub(r" [\d.e+]+$", "", text, flags=re.MULTILINE), personal


def test_a_scrape_waits_for_nobody(service: Service) -> None:
    """Not for a store that is being written to, nor for a recorder that is stuck; the counts change
    meanwhile."""
    service.watch._try()
    stuck, go = threading.Event(), threading.Event()

    def wait() -> None:
        stuck.set()
        go.wait(PATIENCE_S)

    def count() -> None:
        number = 0
        while not go.is_set():
            number += 1
            service.stage.agent.tally.ended[f"outcome{number % 997}", "allowed", "silence"] += 1

    service.stage.recorder._quick.put(wait)
    assert stuck.wait(PATIENCE_S)
    counting = threading.Thread(target=count)
    counting.start()
    try:
        with service.stage.archive.store.write():
            assert service["sipagent_recordings_kept"] == 0
        for _ in range(100):
            assert list(service.metrics.collect())
    finally:
        go.set()
        counting.join()


class Slow(Collector):
    """One figure, told when `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = 0

    def collect(self) -> Iterable[Metric]:
        self.asked += 1
        assert self.go.wait(PATIENCE_S)
        yield GaugeMetricFamily("sipagent_test", "A test.", value=7)


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    slow.go.set()
    yield slow
    slow.go.set()
    wait_for(lambda: not [one for one in threading.enumerate() if "process_request" in one.name])


def test_a_scrape_while_it_is_served(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("a name server is asked"))
    with serving(ANY, slow) as where:
        status, kind, text = get(where)
        assert get(where, "POST")[0] == 405  # nothing can be sent
        with pytest.raises(OSError, match="in use"), serving(where, slow):
            pass
    assert status == 200 and kind.startswith("text/plain; version=")
    assert "\nsipagent_test 7.0\n" in text
    assert "process_open_fds" in text and "process_resident_memory_bytes" in text
    assert "metrics" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, PATIENCE_S)
    with serving(where, slow):  # the port is free again at once
        assert get(where)[0] == 200
    if socket.has_ipv6:
        with serving(HostPort("::1", 0), slow) as where:
            assert get(where)[0] == 200


def test_only_so_many_at_once(slow: Slow) -> None:
    slow.go.clear()
    with serving(ANY, slow) as where:
        asking = [socket.create_connection(where, PATIENCE_S) for _ in range(AT_ONCE)]
        for one in asking:
            one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        wait_for(lambda: slow.asked == AT_ONCE)
        with socket.create_connection(where, PATIENCE_S) as one_more:
            assert one_more.recv(100) == b""  # let go at once, without a thread
        slow.go.set()
        for one in asking:
            assert one.recv(100).startswith(b"HTTP/1.")
            one.close()
        assert get(where)[0] == 200  # and then there is room again
    assert slow.asked == AT_ONCE + 1


def test_who_says_nothing_is_let_go(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics._Request, "timeout", 0.05)
    with serving(ANY, slow) as where:
        with socket.create_connection(where, PATIENCE_S) as silent:
            assert silent.recv(100) == b""
        socket.create_connection(where, PATIENCE_S).close()
        assert get(where)[0] == 200
    assert capfd.readouterr() == ("", "")  # a scan must not fill the log


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    (tmp_path / "office").mkdir()
    return make_office(tmp_path / "office", capsys)


def leads_to(office: Office, port: int) -> None:
    """The office's configuration."""
    config = with_keys("metrics", f'listen = "127.0.0.1:{port}"', CONFIG)
    (office.folder / "config.toml").write_text(config)


def status(office: Office, service: Service, code: int = 0) -> tuple[dict[str, object], str]:
    """In JSON, and as it is shown."""
    with serving(ANY, service.metrics) as (_, port):
        leads_to(office, port)
        said, shown = office.run("status", "--json"), office.run("status")
    assert (said.code, shown.code) == (code, code)
    return json.loads(said.out), shown.out


def test_status_says_how_the_agent_is(office: Office, service: Service) -> None:
    said, shown = status(office, service)
    for name in ("recordings", "last_purge", "free_bytes", "board_shared", "object_store_up"):
        assert said[name] is None  # before the first look
    assert "board" not in shown and "object store" not in shown
    service.watch._try()
    service.purged()
    service.stage.invite()
    with_all(service)
    said, shown = status(office, service)
    assert str(said.pop("last_purge")).endswith("Z") and said.pop("free_bytes")
    assert (
        said
        | {
            **{"calls": 1, "calls_limit": 1, "registered": None, "board_shared": True, "object_store_up": 0},
            **{name: 0 for name in ("recordings", "held", "overdue", "unerased", "purge_suspended")},
            **{"uploads_waiting_bytes": 64_000, "uploads_behind_s": 7, "removals_pending": 2},
            **{"events_waiting": 9, "events_behind_s": 70, "events_given_up": 10},
        }
        == said
    )
    for text in (
        "1 of",
        "shared by all hosts",
        "64.0 kB, the first for",
        "does not answer",
        "9, the first for 70 s",
    ):
        assert text in shown
    service.metrics.board = cast(Any, SimpleNamespace(shared=False, losses=3))
    said, shown = status(office, service)
    assert said["board_shared"] is False and "away; this host" in shown


def test_status_says_what_is_different_today_on_this_host(office: Office, service: Service) -> None:
    agent, until = service.stage.agent, datetime(2999, 12, 31, 17, tzinfo=UTC)
    assert status(office, service)[0]["today"] is None
    for message, line in (
        ("flood", "message flood until 2999-12-31 18:00"),
        (None, "closed until 2999-12-31"),
    ):
        special = Special(number=1, message=message, from_at=datetime(2000, 1, 1, tzinfo=UTC), until_at=until)
        agent.reload(agent.admission.on((special,)))
        said, shown = status(office, service)
        assert said["today"] == {"message": message, "until_at": "2999-12-31T17:00:00.000Z"}
        assert line in shown


def test_who_is_not_registered_is_a_failure(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged(tmp_path, monkeypatch, registers=True) as stage:
        assert status(office, Service(stage, tmp_path), 1)[0]["registered"] is False


def test_who_is_not_asked_or_does_not_answer_or_is_no_agent(office: Office) -> None:
    class Nobody(Collector):
        def collect(self) -> list[Metric]:
            return []

    assert "metrics.listen is absent" in office.fails(1, "status")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        leads_to(office, port := taken.getsockname()[1])
        assert f"127.0.0.1:{port}: the agent does not answer" in office.fails(1, "status")
    with serving(ANY, Nobody()) as (_, port):
        leads_to(office, port)
        assert "who answers is not the agent" in office.fails(1, "status")
