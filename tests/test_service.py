"""`sipagent run` without a network: signals, reload, what is refused at the start, and what is logged."""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from retention.files import alone
from retention.records import Status
from retention.rows.rows import StoreError
from retention.vault import new_pair
from sipagent.agent.admission import SHIPPED
from sipagent.agent.engine import Credentials, EngineSettings, Incoming, OfLeg
from sipagent.agent.recorder import Recorder
from sipagent.call import events as e
from sipagent.config.load import Config, ConfigError
from sipagent.config.sampling import draw, keep_seed, read_seed
from sipagent.lookup.results import audit
from sipagent.service import one_process
from sipagent.service.control import Systemd
from tests import kept
from tests.configured import SMALL, read, with_keys
from tests.driving import HERE, invite
from tests.fake_engine import FakeEngine
from tests.kept import Paths
from tests.peers.process import free_ports
from tests.tapping import PATIENCE_S, wait_for


@pytest.fixture
def where(tmp_path: Path) -> Path:
    (tmp_path / "prompts").symlink_to(SHIPPED)
    return tmp_path / "config.toml"


@pytest.fixture
def office(where: Path) -> Config:
    where.write_text(SMALL)
    return read(SMALL, where)


class Stub(FakeEngine):
    """An engine whose polls carry out a script, one step each, and then end the one_process."""

    steps: list[Callable[["Stub"], None]]
    made: list["Stub"]
    legs_it_has = 4

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings.report, self.legs_it_has)
        self.settings = settings
        self.stopped = False
        self.polls = 0
        self.ended = False
        self.made.append(self)

    def poll(self, timeout_s: float) -> None:
        self.polls += 1
        assert self.polls < 10_000, "it does not end"
        if self.steps:
            self.steps.pop(0)(self)
        elif not self.ended:
            self.ended = True
            send(signal.SIGTERM)(self)

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Stub]]:
    """In place of the real one; signals are as before afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    Stub.steps, Stub.made = [], []
    monkeypatch.setattr(one_process, "PjsipEngine", Stub)
    monkeypatch.setattr(Stub, "legs_it_has", 4)
    yield Stub
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> Callable[[Stub], None]:
    return lambda _: os.kill(os.getpid(), number)


def run(config: Config, capsys: pytest.CaptureFixture[str], drain_s: float = 60.0) -> list[dict[str, Any]]:
    """What a whole run has logged."""
    assert one_process.run(config, log_json=True, drain_s=drain_s, systemd=Systemd()) == 0
    assert Stub.steps == []
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def events(lines: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


# --- a run ---


def test_a_run_from_its_start_to_sigterm(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    engine.steps = [lambda _: None, send(signal.SIGTERM)]
    lines = run(office, capsys)
    assert events(lines) == ["started", "ready", "draining", "stopped"]
    assert {line["level"] for line in lines} == {"info"}
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert engine.made[0].stopped


def test_calls_in_progress_are_waited_for_as_long_as_was_said(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second signal ends the waiting: the call is ended, and its receipt says so."""
    call = Incoming(1, HERE, invite())

    def rings(stub: Stub) -> None:
        stub.up.add(1)
        stub.say(call)

    def has_waited(stub: Stub) -> None:
        assert ("hang_up", 1) not in stub.orders

    engine.steps = [rings, send(signal.SIGTERM), has_waited, has_waited, send(signal.SIGINT)]
    lines = run(office, capsys, drain_s=3600.0)
    assert [line["calls"] for line in lines if line["event"] == "draining"] == [1]
    assert ("hang_up", 1) in engine.made[0].orders
    (receipt,) = kept.archive(office.base).store.receipts()
    assert (receipt.outcome, receipt.events[-1].what) == ("failed", "the service is stopping")


def test_what_an_agent_that_died_has_left_is_finished_at_the_start(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    archive = kept.archive(office.base)
    row = kept.recording()
    archive.store.add_receipt(kept.receipt(row, decision="refused", ended_at=None))
    archive.open(row).write_bytes(b"sound")
    run(office, capsys)
    assert archive.store.recording(row.id).status is Status.ERASED
    assert archive.store.receipt(row.id).outcome == "failed"


def test_a_second_agent_touches_nothing_of_the_first_one(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    """On another port, say, with the same database: the open recording is of a call that goes on."""
    archive, row = kept.archive(office.base), kept.recording()
    archive.store.add_receipt(kept.receipt(row, ended_at=None))
    archive.open(row).write_bytes(b"of a call")
    lock = office.database.with_suffix(".lock")
    with alone(lock), pytest.raises(StoreError, match="another agent is at work on it"):
        one_process.run(office, log_json=True, drain_s=0, systemd=Systemd())
    assert archive.store.recording(row.id) == row and Paths(archive).part(row.id).exists()
    assert engine.made[0].stopped
    run(office, capsys)
    assert archive.store.recording(row.id).status is Status.FAILED


def test_what_has_expired_is_purged_at_the_start(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    archive = kept.archive(office.base)
    row = kept.recording(-60 * 24 * 400)
    kept.keep(archive, row)
    engine.steps = [lambda _: wait_for(lambda: archive.store.recording(row.id).status is Status.PURGED)]
    lines = run(office, capsys)
    assert archive.store.recording(row.id).status is Status.PURGED
    assert [line["id"] for line in lines if line["event"] == "purged"] == [row.id]


# --- reload ---


def test_sighup_takes_other_rules_for_the_calls_to_come(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    def changes(_: Stub) -> None:
        office.file.write_text(with_keys("trunk", 'numbers = ["+33323063006"]', SMALL))

    def rings(stub: Stub) -> None:
        stub.up.add(1)
        stub.say(Incoming(1, HERE, invite(number="+33999999999")))

    engine.steps = [changes, send(signal.SIGHUP), lambda _: None, rings]
    lines = run(office, capsys)
    assert "reloaded" in events(lines)
    assert ("reject", 1, 404, None) in engine.made[0].orders


def test_sighup_takes_other_hours_and_another_share(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    """And the seed is the one that there was."""

    def changes(text: str) -> Callable[[Stub], None]:
        def write(_: Stub) -> None:
            office.file.write_text(text)

        return write

    def rings(leg: int) -> Callable[[Stub], None]:
        def ring(stub: Stub) -> None:
            stub.up.add(leg)
            stub.say(Incoming(leg, HERE, invite(call_id=f"call-{leg}")))
            stub.say(OfLeg(leg, e.CallConfirmed(telephone_event=True)))
            stub.say(OfLeg(leg, e.MediaArrived()))

        return ring

    def hangs_up(leg: int) -> Callable[[Stub], None]:
        def gone(stub: Stub) -> None:
            stub.up.discard(leg)
            stub.say(OfLeg(leg, e.LegGone(leg, 200)))

        return gone

    none = with_keys("recording", "share = 0.0", SMALL)
    shut = with_keys("hours", 'closed = ["2000-01-01/2100-01-01"]', SMALL)
    engine.steps = [rings(1), hangs_up(1)]
    engine.steps += [changes(none), send(signal.SIGHUP), lambda _: None, rings(2), hangs_up(2)]
    engine.steps += [changes(shut), send(signal.SIGHUP), lambda _: None, rings(3), hangs_up(3)]
    run(office, capsys)
    heard = [sound for _, sound, _ in engine.made[0].ordered("play")]
    assert heard == ["notice.wav", "welcome.wav", "closed.wav"]
    found = audit(kept.archive(office.base).store.receipts(), read_seed(office.base / "retention.seed"))
    assert (found.wrong, found.calls, found.undrawn) == ([], {1.0: 1, 0.0: 1}, 1)


# --- the seed of the draws ---


def test_the_seed_is_made_at_the_first_start_and_stays(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    run(office, capsys)
    made = read_seed(office.base / "retention.seed")
    run(office, capsys)
    assert read_seed(office.base / "retention.seed") == made


def test_with_a_damaged_seed_nobody_is_drawn_until_it_is_back(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a share is to be recorded, and nobody can tell which: it starts, says so, and records none."""
    path = office.base / "retention.seed"
    whole = path.with_name("copy.seed")
    seed = keep_seed(whole)
    path.write_text("damaged")

    def rings(stub: Stub) -> None:
        leg = 1 + len(stub.up)
        stub.up.add(leg)
        stub.say(Incoming(leg, HERE, invite()))
        stub.say(OfLeg(leg, e.LegGone(leg, 487)))

    def comes_back(_: Stub) -> None:
        whole.replace(path)

    office.file.write_text(text := with_keys("recording", "share = 0.999999", SMALL))
    engine.steps = [
        rings,
        comes_back,
        send(signal.SIGHUP),
        lambda _: None,
        rings,
    ]
    lines = run(read(text, office.file), capsys)
    (alert,) = (line for line in lines if line["event"] == "alert")
    assert "retention.seed is damaged" in alert["reason"] and "no call is drawn" in alert["reason"]
    with kept.archive(office.base).store as store:
        told = [receipt.events[0].what for receipt in store.receipts()[::-1]]
        ids = [receipt.id for receipt in store.receipts()[::-1]]
    assert told == ["not drawn: no seed, share 0.999999", str(draw(seed, ids[1], 0.999999))]


def test_sighup_takes_other_recipients_for_the_recordings_to_come(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new_pair(office.base / "ann", None, "ann")
    taken: list[tuple[str, tuple[Path, ...]]] = []
    monkeypatch.setattr(Recorder, "reload", lambda _, format, recipients: taken.append((format, recipients)))

    def changes(_: Stub) -> None:
        office.file.write_text(with_keys("recording", 'recipients = ["ann.pub"]\nformat = "wav"', SMALL))

    engine.steps = [changes, send(signal.SIGHUP), lambda _: None]
    run(office, capsys)
    assert taken == [("wav", (office.base / "ann.pub",))]


def test_a_configuration_that_is_wrong_changes_nothing(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(_: Stub) -> None:
        office.file.write_text("[service\n")

    engine.steps = [breaks, send(signal.SIGHUP), lambda _: None]
    lines = run(office, capsys)
    refused = [line for line in lines if line["event"] == "reload_refused"]
    assert len(refused) == 1
    assert str(office.file) in refused[0]["reason"]
    assert "reloaded" not in events(lines)


def reloads(office: Config, text: str) -> list[Callable[[Stub], None]]:
    """The file says this, and is read again."""

    def writes(_: Stub) -> None:
        office.file.write_text(text)

    return [writes, send(signal.SIGHUP), lambda _: None]


def test_sighup_does_not_promise_what_nobody_listens_for(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    """A notice that says "dites je refuse" comes with the detector: callers hear the old one."""

    def rings(stub: Stub) -> None:
        stub.up.add(1)
        stub.say(Incoming(1, HERE, invite()))
        stub.say(OfLeg(1, e.CallConfirmed(telephone_event=True)))
        stub.say(OfLeg(1, e.MediaArrived()))

    office = read(with_keys("refusal", 'engine = "none"', SMALL), office.file)
    promising = with_keys("prompts", 'notice = "prompts/fr/notice_voice.wav"', SMALL)
    engine.steps = [*reloads(office, promising), rings]
    lines = run(office, capsys, drain_s=0.0)
    (refused,) = (line for line in lines if line["event"] == "reload_refused")
    assert "notice_voice.wav promises a spoken refusal, which nobody hears" in refused["reason"]
    assert "reloaded" not in events(lines)
    assert [sound for _, sound, _ in engine.made[0].ordered("play")][:1] == ["notice.wav"]


def test_sighup_says_what_takes_a_restart_and_takes_the_rest(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    """At each reload anew, as long as the file says so; a call is let in by what is new and can be had."""
    moved = with_keys("trunk", 'listen = "127.0.0.1:5099"\nnumbers = ["+33323063006"]', SMALL)
    moved = with_keys("retention", 'database = "other.db"\nperiod = "2 months"', moved)

    def rings(stub: Stub) -> None:
        stub.up.add(1)
        stub.say(Incoming(1, HERE, invite(number="+33999999999")))

    engine.steps = [*reloads(office, moved), *reloads(office, moved), rings]
    lines = run(office, capsys)
    told = [(line["key"], line["detail"]) for line in lines if line["event"] == "needs_restart"]
    assert told == 2 * [
        ("trunk.listen", "sockets are bound to it"),
        ("retention.database", "it is in use"),
    ]
    assert events(lines).count("reloaded") == 2
    assert ("reject", 1, 404, None) in engine.made[0].orders
    assert not (office.base / "other.db").exists()


# --- what is refused at the start ---


def test_more_calls_than_the_engine_has_legs_for(
    office: Config, engine: type[Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "legs_it_has", 1)
    with pytest.raises(ConfigError, match=r"capacity.calls: 1 is more than one process carries"):
        one_process.run(office, log_json=True, drain_s=1.0, systemd=Systemd())
    assert engine.made[0].stopped


def test_a_prompt_that_cannot_be_played_is_an_error_of_the_configuration(where: Path) -> None:
    config = read(with_keys("prompts", 'notice = "absent.wav"', SMALL), where)
    with pytest.raises(ConfigError, match=r"prompts: .*absent.wav: does not exist; accepted: "):
        one_process.run(config, log_json=True, drain_s=1.0, systemd=Systemd())


UNRECORDABLE = {
    "recording.recipients": with_keys("recording", 'recipients = ["absent.pub"]', SMALL),
    "recording.directory": with_keys("recording", 'directory = "config.toml"', SMALL),
}


@pytest.mark.parametrize("key", UNRECORDABLE)
def test_what_would_leave_every_call_unrecorded_by_mistake_stops_it(
    where: Path, engine: type[Stub], key: str
) -> None:
    """Before there is an engine."""
    where.write_text(UNRECORDABLE[key])
    with pytest.raises(ConfigError, match=rf"{key}: .*; accepted: what lets calls be recorded, or ") as wrong:
        one_process.run(read(UNRECORDABLE[key], where), log_json=True, drain_s=1.0, systemd=Systemd())
    assert "\n" not in str(wrong.value)
    assert engine.made == []


def test_and_is_taken_by_no_reload(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "reload", lambda *_: pytest.fail("it was taken"))
    engine.steps = reloads(office, UNRECORDABLE["recording.recipients"])
    lines = run(office, capsys)
    (refused,) = (line for line in lines if line["event"] == "reload_refused")
    assert "recording.recipients: " in refused["reason"] and "absent.pub" in refused["reason"]
    assert "reloaded" not in events(lines)


# --- what the engine is told ---


def test_the_engine_is_set_up_as_the_configuration_says(
    where: Path, engine: type[Stub], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNK", "secret")
    monkeypatch.setenv("PBX", "other")
    trunk = 'username = "agent"\npassword_env = "TRUNK"\nrealm = "trunk"\nlisten = "127.0.0.1:5099"'
    trunk += '\nrtp_ports = "20000-20099"\ncodecs = ["PCMU"]\nsrtp = "optional"\ntransport = "tcp"'
    operators = 'username = "desk"\npassword_env = "PBX"\noutbound_proxy = "sip:pbx.example.net"'
    text = SMALL.replace("[trunk]\n", f"[trunk]\n{trunk}\n")
    text = text.replace("[operators]\n", f"[capacity]\nmedia_timeout_s = 12\n[operators]\n{operators}\n")
    run(read(text, where), capsys)
    settings = engine.made[0].settings
    assert settings.trunk == Credentials("agent", "secret", "trunk")
    assert settings.operators == Credentials("desk", "other")
    assert (settings.listen, settings.rtp_ports) == (("127.0.0.1", 5099), (20000, 20099))
    assert (settings.codecs, settings.srtp, settings.transport) == (("PCMU",), "optional", "tcp")
    assert (settings.registrar, settings.outbound_proxies) == ("", ("sip:pbx.example.net",))
    assert settings.media_timeout_s == 12


def test_without_a_login_of_their_own_operators_have_none_but_the_trunks(
    where: Path, engine: type[Stub], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNK", "secret")
    trunk = '[trunk]\nusername = "agent"\npassword_env = "TRUNK"\nrealm = "trunk"\n'
    run(read(SMALL.replace("[trunk]\n", trunk), where), capsys)
    settings = engine.made[0].settings
    assert (settings.trunk, settings.operators) == (Credentials("agent", "secret", "trunk"), None)


def test_without_logins_there_are_no_credentials(
    office: Config, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    run(office, capsys)
    settings = engine.made[0].settings
    assert (settings.trunk, settings.operators) == (None, None)


def test_a_password_is_in_no_representation() -> None:
    assert "secret" not in repr(Credentials("agent", "secret"))


# --- figures ---


def test_figures_are_told_as_long_as_it_runs(
    where: Path, engine: type[Stub], capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_ports(1)
    config = read(with_keys("metrics", f'listen = "127.0.0.1:{port}"', SMALL), where)
    told: list[str] = []

    def scraped() -> str:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
            told.append(answer.read().decode())
        return told[-1]

    def watched(_: Stub) -> None:
        wait_for(lambda: "\nsipagent_recordings_kept 0.0\n" in scraped())

    engine.steps = [watched]
    run(config, capsys)
    assert "\nsipagent_calls_in_progress 0.0\n" in told[0]
    assert not {"watch", "metrics"} & {thread.name for thread in threading.enumerate()}
    with pytest.raises(OSError, match="refused"):
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S)


def test_a_port_for_figures_that_is_taken_is_an_error_of_the_configuration(
    where: Path, engine: type[Stub]
) -> None:
    """Before anything of what is kept is touched, and before a call is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        config = read(with_keys("metrics", f'listen = "{listen}"', SMALL), where)
        with pytest.raises(
            ConfigError, match=rf"metrics.listen: {listen}: Address already in use; accepted: "
        ):
            one_process.run(config, log_json=True, drain_s=1.0, systemd=Systemd())
    assert engine.made[0].stopped and engine.made[0].polls == 0
