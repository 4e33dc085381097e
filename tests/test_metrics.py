"""The figures, as a scraper reads them over loopback."""

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from retention.records import Status
from sipagent import __version__
from sipagent.agent.agent import Agent
from sipagent.agent.engine import RefusedByEngine, Registration
from sipagent.agent.figures import Figures as Counted
from sipagent.agent.recorder import TapFault
from sipagent.call import events as e
from sipagent.config.load import HostPort
from sipagent.service.cluster import ShippingFigures
from sipagent.service.metrics import Metrics, Watch, serving
from sipagent.service.purging import Purging
from sipagent.service.storing import StoringFigures
from tests import kept
from tests.configured import SMALL, read, with_keys
from tests.driving import DESK, ELSEWHERE, HERE, SECOND_DESK, Stage, invite, staged
from tests.tapping import PATIENCE_S

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Service:
    """A stage's agent with all that is scraped beside it; nothing but what a test starts runs."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        config = read(with_keys("metrics", 'listen = "127.0.0.1:9464"', SMALL), folder / "config.toml")
        self.stage = stage
        self.purging = Purging(config, stage.alerts.append)
        self.watch = Watch(lambda: self.purging.config)
        self.metrics = Metrics(stage.agent, self.purging, self.watch)

    def scraped(self) -> str:
        with serving(HostPort("127.0.0.1", 0), self.metrics) as where:
            asking = HTTPConnection(*where, timeout=PATIENCE_S)
            asking.request("GET", "/metrics")
            text = asking.getresponse().read().decode()
            asking.close()
        return text

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


class SharedOrNot:
    """In place of the board of several hosts."""

    losses = 3

    def __init__(self, shared: bool) -> None:
        self.shared = shared


class Ships:
    """In place of the thread that ships."""

    figures = ShippingFigures(up=True, rows=3, lag_s=1.5, used=0.25, failures=2)


class Stores:
    """In place of the threads that put into the object store and remove from it."""

    figures = StoringFigures(
        away=True, behind_s=2.5, waiting=4000, sent=9000, upload_failures=5, removal_failures=6, unremoved=1
    )


@pytest.fixture
def service(stage: Stage, tmp_path: Path) -> Service:
    return Service(stage, tmp_path)


def one_turn(purging: Purging) -> None:
    purging._do("purge", purging._turn)


# --- calls ---


def test_an_agent_that_has_just_begun(service: Service) -> None:
    figures = service.figures()
    assert figures["sipagent_build_info", (("version", __version__),)] == 1
    assert figures["sipagent_calls_in_progress", ()] == 0
    assert figures["sipagent_calls_limit", ()] == 1
    assert not [name for name, _ in figures if name == "sipagent_calls_total"]
    assert figures["sipagent_purge_last_success_timestamp_seconds", ()] == 0
    assert not [name for name, _ in figures if name in ("sipagent_recordings_kept", "sipagent_registered")]


def test_calls_by_what_has_become_of_them(service: Service) -> None:
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
    assert service.labelled("sipagent_calls_total") == {
        # decided_by, decision, outcome
        ("silence", "allowed", "connected"): 1,
        ("dtmf", "refused", "abandoned"): 1,
        ("sip", "undecided", "rejected"): 1,
    }
    assert service["sipagent_calls_in_progress"] == 0
    assert len(stage.receipts()) == 3


def test_a_call_that_nothing_decided_has_a_label_all_the_same(service: Service) -> None:
    stage = service.stage
    stage.gone(stage.invite())
    assert service.labelled("sipagent_calls_total") == {("nothing", "undecided", "abandoned"): 1}


def test_strangers(service: Service) -> None:
    service.stage.invite(source=ELSEWHERE)
    service.stage.turn(RefusedByEngine(488, ELSEWHERE, invite()))
    assert service["sipagent_strangers_dropped_total"] == 2
    assert service.labelled("sipagent_calls_total") == {}


def test_whether_the_registrar_knows_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(tmp_path, monkeypatch, registers=True) as stage:
        service = Service(stage, tmp_path)
        assert service["sipagent_registered"] == 0
        stage.turn(Registration(active=True, status=200, reason="OK"))
        assert service["sipagent_registered"] == 1
        stage.turn(Registration(active=False, status=503, reason="No"))
        assert service["sipagent_registered"] == 0


# --- faults ---


def test_faults_of_the_recorder(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = service.stage
    stage.bridged()
    (call,) = stage.agent.live
    stage.agent.post(TapFault(call.id, "disk full"))
    stage.turn()

    def fails() -> None:
        raise OSError(28, "No space left on device")

    stage.recorder._quick.put(fails)
    stage.recorder._slow.put(fails)
    stage.recorder._slow.put(lambda: 1 / 0)  # type: ignore[arg-type]
    stage.settle()
    assert service.labelled("sipagent_recorder_faults_total") == {
        ("tap",): 1, ("recorder",): 1, ("assembler",): 2,
    }  # fmt: skip
    assert len(stage.alerts) == 3


def test_frames_that_the_disk_was_too_slow_for(service: Service) -> None:
    stage = service.stage
    caller, operator = stage.bridged()
    (call,) = stage.agent.live
    assert call.tap is not None
    stage.talk(caller, operator)
    call.tap._backlog._drops = 3
    stage.gone(caller)
    stage.gone(operator)
    stage.listened()
    stage.settle()
    assert service["sipagent_tap_frames_dropped_total"] == 3
    assert stage.recording().incomplete


def test_what_the_edge_kept_from_workers(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = service.stage.agent
    counted = replace(agent.figures(), malformed=5, unsupported=2)
    monkeypatch.setattr(agent, "figures", lambda: counted)
    told = service.labelled("sipagent_messages_refused_total")
    assert told == {("malformed",): 5, ("unsupported",): 2}


class WithACrash:
    """As an agent counts whose worker has crashed."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.limit, self.has_registered = agent.limit, agent.has_registered

    def figures(self) -> Counted:
        return replace(self._agent.figures(), crashes=1, fatal={("INVITE", "3", "1500"): 1})


def test_workers_that_crashed(service: Service) -> None:
    assert service["sipagent_worker_crashes_total"] == 0
    service.metrics._counting = WithACrash(service.stage.agent)
    assert service["sipagent_worker_crashes_total"] == 1
    assert service.labelled("sipagent_fatal_messages_total") == {("3", "INVITE", "1500"): 1}


def test_operators_who_were_rung_in_vain(service: Service) -> None:
    """By extension as it is configured."""
    stage = service.stage
    assert service.labelled("sipagent_operator_failures_total") == {}
    _, operator = stage.rung()
    stage.gone(operator, 503)
    stage.gone(max(stage.engine.dialled), 486)
    told = service.labelled("sipagent_operator_failures_total")
    assert told == {(DESK, "unreachable"): 1, (SECOND_DESK, "busy"): 1}


# --- what is kept ---


def test_what_the_watch_saw(service: Service) -> None:
    archive = service.stage.archive
    row = kept.recording()
    kept.keep(archive, row)
    service.watch._try()
    figures = service.figures()
    assert figures["sipagent_recordings_kept", ()] == 1
    nothing = ("recordings_held", "recordings_overdue", "holds_review_overdue", "purge_suspended")
    for none in (*nothing, "recording_obstacles"):
        assert figures[f"sipagent_{none}", ()] == 0
    assert figures["sipagent_chain_head_sequence", ()] == archive.store.head().seq
    assert figures["sipagent_disk_free_bytes", ()] > 0
    assert figures["sipagent_watch_last_success_timestamp_seconds", ()] > 1e9


def test_figures_of_a_store_that_cannot_be_read_are_not_told(service: Service) -> None:
    service.watch._try()
    assert service["sipagent_recordings_kept"] == 0
    service.stage.archive.store.path.unlink()  # type: ignore[union-attr]
    service.watch._try()
    figures = service.figures()
    assert ("sipagent_recordings_kept", ()) not in figures
    assert figures["sipagent_watch_failures_total", ()] == 1


def test_a_purge_that_ends_and_one_that_fails(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, purging = service.stage.archive, service.purging
    old = kept.recording(-60 * 24 * 400)
    kept.keep(archive, old)

    def stuck(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stuck)
        one_turn(purging)
    assert service["sipagent_purge_failures_total"] == 1
    assert service["sipagent_purge_last_success_timestamp_seconds"] > 1e9
    assert archive.store.recording(old.id).status is Status.PURGING
    one_turn(purging)
    assert archive.store.recording(old.id).status is Status.PURGED
    monkeypatch.setattr(purging, "_turn", lambda: 1 / 0)
    one_turn(purging)
    assert service["sipagent_purge_failures_total"] == 2
    purging._do("stamp", stuck)
    assert service["sipagent_stamp_failures_total"] == 1


# --- the whole ---


def test_names_are_as_prometheus_wants_them(service: Service) -> None:
    service.watch._try()
    service.stage.gone(service.stage.invite())
    text = service.scraped()
    families = [one for one in text_string_to_metric_families(text) if one.name.startswith("sipagent_")]
    assert len(families) >= 19
    for family in families:
        assert re.fullmatch(r"sipagent(_[a-z]+)+", family.name)
        assert family.documentation.endswith("."), family.name
        names = {sample.name for sample in family.samples}
        counts = {name for name in names if name.endswith("_total")}
        assert (family.type == "counter") is bool(counts), family.name
        if "timestamp" in family.name or "bytes" in family.name:
            assert family.name.endswith(("_timestamp_seconds", "_bytes"))


@pytest.mark.parametrize("page", ["en/troubleshooting.md", "fr/depannage.md"])
def test_the_pages_name_only_figures_that_there_are(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged(tmp_path, monkeypatch, registers=True) as stage:
        service = Service(stage, tmp_path)
        service.metrics._counting = WithACrash(stage.agent)
        service.watch._try()
        stage.gone(stage.invite())
        stage.gone(stage.rung()[1], 503)
        names = {name for name, _ in service.figures()}
    text = (Path(__file__).parent.parent / "docs" / page).read_text(encoding="utf-8")
    told = re.findall(r"\b(sipagent_[a-z_]+)(\*?)", text)
    assert told
    for name, rest in told:
        assert name in names or (rest and any(one.startswith(name) for one in names)), name


def test_nothing_leads_to_a_person(service: Service) -> None:
    service.stage.bridged()
    service.watch._try()
    text = service.scraped()
    for personal in ("+336", "+333", "sip:", "201", "a84b4c76"):
        assert personal not in re.sub(r" [\d.e+]+$", "", text, flags=re.MULTILINE), personal


def test_a_scrape_waits_for_nobody(service: Service) -> None:
    """Not for a store that is being written to, nor for a recorder that is stuck."""
    service.watch._try()
    stuck, go = threading.Event(), threading.Event()

    def wait() -> None:
        stuck.set()
        go.wait(PATIENCE_S)

    service.stage.recorder._quick.put(wait)
    assert stuck.wait(PATIENCE_S)
    try:
        with service.stage.archive.store.write():
            assert service["sipagent_recordings_kept"] == 0
    finally:
        go.set()


def test_counting_while_calls_end(service: Service) -> None:
    """The agent's own counts change while they are read."""
    agent, over = service.stage.agent, threading.Event()

    def calls() -> Iterator[Any]:
        for number in range(100_000):
            agent.tally.ended[f"outcome{number % 997}", "allowed", "silence"] += 1
            if over.is_set():
                return
            yield number

    thread = threading.Thread(target=lambda: [None for _ in calls()])
    thread.start()
    try:
        for _ in range(200):
            assert list(service.metrics.collect())
    finally:
        over.set()
        thread.join()


def test_what_waits_for_a_shared_database_is_told(service: Service) -> None:
    assert "journal" not in service.scraped()
    service.metrics._shipping = Ships()  # type: ignore[assignment]
    told = {name: value for (name, _), value in service.figures().items()}
    assert told["sipagent_shared_database_up"] == 1.0
    assert told["sipagent_journal_rows_waiting"] == 3.0
    assert told["sipagent_journal_lag_seconds"] == 1.5
    assert told["sipagent_journal_used_ratio"] == 0.25
    assert told["sipagent_shipping_failures_total"] == 2.0


def test_what_waits_for_an_object_store_is_told(service: Service) -> None:
    assert "upload" not in service.scraped()
    service.metrics._stored = Stores()  # type: ignore[assignment]
    told = {name: value for (name, _), value in service.figures().items()}
    assert told["sipagent_object_store_up"] == 0.0
    assert told["sipagent_uploads_behind_seconds"] == 2.5
    assert told["sipagent_uploads_waiting_bytes"] == 4000.0
    assert told["sipagent_uploaded_bytes_total"] == 9000.0
    assert told["sipagent_upload_failures_total"] == 5.0
    assert told["sipagent_removal_failures_total"] == 6.0
    assert told["sipagent_removals_pending"] == 1.0
