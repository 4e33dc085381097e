"""`sipagent run` in one process, without a network: signals, reloads, what is refused at the start."""

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
from retention.records import Receipt, Status
from retention.rows.rows import StoreError
from retention.vault import new_pair
from sipagent.agent.admission import SHIPPED
from sipagent.agent.engine import Credentials, EngineSettings, Incoming, OfLeg
from sipagent.agent.recorder import Recorder
from sipagent.call import events as e
from sipagent.config.load import Config, ConfigError
from sipagent.config.sampling import draw, keep_seed, read_seed
from sipagent.operations.statistics import audit
from sipagent.service import one_process
from sipagent.service.control import BEFORE_CALLS, Systemd
from tests import kept
from tests.configured import SMALL, read, with_keys
from tests.driving import HERE, invite
from tests.fake_engine import FakeEngine
from tests.kept import Paths
from tests.notified import Notified
from tests.peers.process import free_ports
from tests.tapping import PATIENCE_S, wait_for


class Stub(FakeEngine):
    """An engine whose polls carry out a script, one step each, and then end the process."""

    steps: list[Callable[["Stub"], object]]
    made: list["Stub"]
    legs_it_has = 4

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings.report, self.legs_it_has)
        self.settings = settings
        self.stopped = self.ended = False
        self.polls = 0
        self.made.append(self)

    def poll(self, timeout_s: float) -> None:
        self.polls += 1
        if self.steps:
            self.steps.pop(0)(self)
        elif not self.ended:
            self.ended = True
            send(signal.SIGTERM)(self)
        else:
            assert self.polls < 10_000, "it does not end"

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


class Office:
    """A configuration in its folder, and runs with it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "prompts").symlink_to(SHIPPED)
        self.folder, self._capsys = folder, capsys
        self.write(SMALL)

    def write(self, text: str) -> None:
        (self.folder / "config.toml").write_text(text)

    @property
    def config(self) -> Config:
        file = self.folder / "config.toml"
        return read(file.read_text(), file)

    def begin(self, drain_s: float = 60.0, systemd: Systemd | None = None) -> int:
        systemd = systemd or Systemd()
        return one_process.run(self.config, log_json=True, drain_s=drain_s, systemd=systemd)

    def run(self, *steps: Callable[[Stub], object], **how: Any) -> list[dict[str, Any]]:
        """What a whole run with these steps has logged."""
        Stub.steps = [*steps]
        assert self.begin(**how) == 0
        assert Stub.steps == []
        out, err = self._capsys.readouterr()
        assert out == ""
        return [json.loads(line) for line in err.splitlines()]

    def reloads(self, text: str) -> list[Callable[[Stub], object]]:
        """The file says this, and is read again."""
        return [lambda _: self.write(text), send(signal.SIGHUP), lambda _: None]

    def receipts(self) -> list[Receipt]:
        """Oldest first."""
        with kept.archive(self.folder).store as store:
            return store.receipts()[::-1]


@pytest.fixture
def office(tmp_path: Path, engine: type[Stub], capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(tmp_path, capsys)


def send(number: int) -> Callable[[Stub], None]:
    return lambda _: os.kill(os.getpid(), number)


def rings(leg: int = 1, *facts: e.Fact, **message: str) -> Callable[[Stub], None]:
    """A caller comes; `facts` follow."""

    def ring(stub: Stub) -> None:
        stub.up.add(leg)
        stub.say(Incoming(leg, HERE, invite(**message)))
        for fact in facts:
            stub.say(OfLeg(leg, fact))

    return ring


def hangs_up(leg: int, status: int = 200) -> Callable[[Stub], None]:
    def gone(stub: Stub) -> None:
        stub.up.discard(leg)
        stub.say(OfLeg(leg, e.LegGone(leg, status)))

    return gone


HEARS = (e.CallConfirmed(telephone_event=True), e.MediaArrived())


def events(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event]


# --- a run ---


def test_a_run_from_its_start_to_sigterm(office: Office, engine: type[Stub]) -> None:
    """The seed of the draws is made at the first start, and stays. No login, no credentials."""
    seeds = []
    for _ in range(2):
        lines = office.run(lambda _: None, send(signal.SIGTERM))
        assert [line["event"] for line in lines] == ["started", "ready", "draining", "stopped"]
        assert {line["level"] for line in lines} == {"info"}
        assert all(line["timestamp"].endswith("Z") for line in lines)
        seeds.append(read_seed(office.folder / "retention.seed"))
    assert seeds[0] == seeds[1] and all(one.stopped for one in engine.made)
    assert (engine.made[0].settings.trunk, engine.made[0].settings.operators) == (None, None)


def test_calls_in_progress_are_waited_for_as_long_as_was_said(office: Office, engine: type[Stub]) -> None:
    """The second signal ends the waiting: the call is ended, and its receipt says so."""

    def has_waited(stub: Stub) -> None:
        assert ("hang_up", 1) not in stub.orders

    steps = (rings(), send(signal.SIGTERM), has_waited, has_waited, send(signal.SIGINT))
    lines = office.run(*steps, drain_s=3600.0)
    (told,) = events(lines, "draining")
    assert told["calls"] == 1 and 3000 < told["at_most_s"] <= 3600 and "second signal" in told["detail"]
    assert ("hang_up", 1) in engine.made[0].orders
    (receipt,) = office.receipts()
    assert (receipt.outcome, receipt.events[-1].what) == ("failed", "the service is stopping")


def test_what_an_agent_that_died_has_left_is_finished_and_what_has_expired_is_purged_at_the_start(
    office: Office,
) -> None:
    archive = kept.archive(office.folder)
    row, old = kept.recording(), kept.recording(-60 * 24 * 400)
    archive.store.add_receipt(kept.receipt(row, decision="refused", ended_at=None))
    archive.open(row).write_bytes(b"sound")
    kept.keep(archive, old)
    lines = office.run(lambda _: wait_for(lambda: archive.store.recording(old.id).status is Status.PURGED))
    assert archive.store.recording(row.id).status is Status.ERASED
    assert archive.store.receipt(row.id).outcome == "failed"
    assert archive.store.recording(old.id).status is Status.PURGED
    assert [line["id"] for line in events(lines, "purged")] == [old.id]


def test_a_second_agent_touches_nothing_of_the_first_one(office: Office, engine: type[Stub]) -> None:
    """On another port, say, with the same database: the open recording is of a call that goes on."""
    archive, row = kept.archive(office.folder), kept.recording()
    archive.store.add_receipt(kept.receipt(row, ended_at=None))
    archive.open(row).write_bytes(b"of a call")
    lock = office.config.database.with_suffix(".lock")
    with alone(lock), pytest.raises(StoreError, match="another agent is at work on it"):
        office.begin()
    assert archive.store.recording(row.id) == row and Paths(archive).part(row.id).exists()
    assert engine.made[0].stopped
    office.run()
    assert archive.store.recording(row.id).status is Status.FAILED


def test_figures_are_told_as_long_as_it_runs(office: Office) -> None:
    address = f"127.0.0.1:{free_ports(1)}"
    office.write(with_keys("metrics", f'listen = "{address}"', SMALL))
    told: list[str] = []

    def scraped() -> str:
        with urlopen(f"http://{address}/metrics", timeout=PATIENCE_S) as answer:
            told.append(answer.read().decode())
        return told[-1]

    office.run(lambda _: wait_for(lambda: "\nsipagent_recordings_kept 0.0\n" in scraped()))
    assert "\nsipagent_calls_in_progress 0.0\n" in told[0]
    assert not {"watch", "metrics"} & {thread.name for thread in threading.enumerate()}
    with pytest.raises(OSError, match="refused"):
        scraped()


# --- reload ---


def test_sighup_takes_other_numbers_hours_and_shares_for_the_calls_to_come(
    office: Office, engine: type[Stub]
) -> None:
    """And the seed is the one that there was."""
    none = with_keys("recording", "share = 0.0", SMALL)
    shut = with_keys("hours", 'closed = ["2000-01-01/2100-01-01"]', SMALL)
    other = with_keys("trunk", 'numbers = ["+33323063006"]', SMALL)
    steps: list[Callable[[Stub], object]] = [rings(1, *HEARS, call_id="call-1"), hangs_up(1)]
    for leg, text in ((2, none), (3, shut)):
        steps += [*office.reloads(text), rings(leg, *HEARS, call_id=f"call-{leg}"), hangs_up(leg)]
    lines = office.run(*steps, *office.reloads(other), rings(4, number="+33999999999"))
    assert len(events(lines, "reloaded")) == 3
    heard = [sound for _, sound, _ in engine.made[0].ordered("play")]
    assert heard == ["notice.wav", "welcome.wav", "closed.wav"]
    assert ("reject", 4, 404, None) in engine.made[0].orders
    found = audit(office.receipts()[:3], read_seed(office.folder / "retention.seed"))
    assert (found.wrong, found.calls, found.undrawn) == ([], {1.0: 1, 0.0: 1}, 1)


def test_with_a_damaged_seed_nobody_is_drawn_until_it_is_back(office: Office) -> None:
    """Only a share is to be recorded, and nobody can tell which: it starts, says so, and records none."""
    path, whole = office.folder / "retention.seed", office.folder / "copy.seed"
    seed = keep_seed(whole)
    path.write_text("damaged")
    office.write(with_keys("recording", "share = 0.999999", SMALL))
    gone = [e.LegGone(leg, 487) for leg in (1, 2)]
    steps = (lambda _: whole.replace(path), send(signal.SIGHUP), lambda _: None)
    lines = office.run(rings(1, gone[0]), *steps, rings(2, gone[1]))
    (alert,) = events(lines, "alert")
    assert "retention.seed is damaged" in alert["reason"] and "no call is drawn" in alert["reason"]
    first, second = office.receipts()
    assert first.events[0].what == "not drawn: no seed, share 0.999999"
    assert second.events[0].what == str(draw(seed, second.id, 0.999999))


def test_sighup_takes_other_recipients_for_the_recordings_to_come(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_pair(office.folder / "ann", None, "ann")
    taken: list[tuple[str, tuple[Path, ...]]] = []
    monkeypatch.setattr(Recorder, "reload", lambda _, format, recipients: taken.append((format, recipients)))
    text = with_keys("recording", 'recipients = ["ann.pub"]\nformat = "wav"', SMALL)
    office.run(*office.reloads(text))
    assert taken == [("wav", (office.folder / "ann.pub",))]


UNRECORDABLE = {
    "recording.recipients": with_keys("recording", 'recipients = ["absent.pub"]', SMALL),
    "recording.directory": with_keys("recording", 'directory = "config.toml"', SMALL),
}
NOBODY_LISTENS = with_keys("refusal", 'engine = "none"', SMALL)
VOICE = with_keys("prompts", 'notice = "prompts/fr/notice_voice.wav"', SMALL)


def test_a_configuration_that_is_wrong_changes_nothing(
    office: Office, engine: type[Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notice that says "dites je refuse" comes with the detector: callers hear the old one."""
    monkeypatch.setattr(Recorder, "reload", lambda *_: pytest.fail("it was taken"))
    office.write(NOBODY_LISTENS)
    lines = office.run(*office.reloads(VOICE), rings(1, *HEARS), drain_s=0.0)
    (refused,) = events(lines, "reload_refused")
    assert "notice_voice.wav promises a spoken refusal, which nobody hears" in refused["reason"]
    assert events(lines, "reloaded") == []
    assert [sound for _, sound, _ in engine.made[0].ordered("play")][:1] == ["notice.wav"]


def test_sighup_says_what_takes_a_restart_and_takes_the_rest(office: Office, engine: type[Stub]) -> None:
    """At each reload anew, as long as the file says so; a call is let in by what is new and can be had."""
    moved = with_keys("trunk", 'listen = "127.0.0.1:5099"\nnumbers = ["+33323063006"]', SMALL)
    moved = with_keys("retention", 'database = "other.db"\nperiod = "2 months"', moved)
    lines = office.run(*office.reloads(moved), *office.reloads(moved), rings(number="+33999999999"))
    told = [(line["key"], line["detail"]) for line in events(lines, "needs_restart")]
    assert told == 2 * [("trunk.listen", "sockets are bound to it"), ("retention.database", "it is in use")]
    assert len(events(lines, "reloaded")) == 2
    assert ("reject", 1, 404, None) in engine.made[0].orders
    assert not (office.folder / "other.db").exists()


# --- what is refused at the start ---


def test_more_calls_than_the_engine_has_legs_for(office: Office, engine: type[Stub]) -> None:
    engine.legs_it_has = 1
    with pytest.raises(ConfigError, match=r"capacity.calls: 1 is more than one process carries"):
        office.begin()
    assert engine.made[0].stopped


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            with_keys("prompts", 'notice = "absent.wav"', SMALL),
            r"prompts: .*absent.wav: does not exist; accepted: ",
        ),
        *(
            (text, rf"{key}: .*; accepted: what lets calls be recorded, or ")
            for key, text in UNRECORDABLE.items()
        ),
    ],
)
def test_what_would_leave_every_call_unrecorded_by_mistake_stops_it_before_there_is_an_engine(
    office: Office, engine: type[Stub], text: str, why: str
) -> None:
    office.write(text)
    with pytest.raises(ConfigError, match=why) as wrong:
        office.begin()
    assert "\n" not in str(wrong.value)
    assert engine.made == []


def test_a_port_for_figures_that_is_taken_is_said_and_tried_again_by_systemd(
    office: Office, engine: type[Stub]
) -> None:
    """Before anything of what is kept is touched, and before a call. Not exit 2: it may be free soon."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        office.write(with_keys("metrics", f'listen = "{listen}"', SMALL))
        with pytest.raises(OSError, match="Address already in use") as wrong:
            office.begin()
    assert wrong.value.filename == f"metrics.listen: {listen}"
    assert engine.made[0].stopped and engine.made[0].polls == 0


# --- what the engine is told ---


def test_the_engine_is_set_up_as_the_configuration_says(
    office: Office, engine: type[Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a login of their own operators have none."""
    monkeypatch.setenv("TRUNK", "secret")
    monkeypatch.setenv("PBX", "other")
    login = 'username = "agent"\npassword_env = "TRUNK"\nrealm = "trunk"'
    trunk = f'{login}\nlisten = "127.0.0.1:5099"\nrtp_ports = "20000-20099"\ncodecs = ["PCMU"]'
    trunk += '\nsrtp = "optional"\ntransport = "tcp"'
    operators = 'username = "desk"\npassword_env = "PBX"\noutbound_proxy = "sip:pbx.example.net"'
    text = with_keys("capacity", "media_timeout_s = 12", with_keys("operators", operators, SMALL))
    for one in (with_keys("trunk", trunk, text), with_keys("trunk", login, SMALL)):
        office.write(one)
        office.run()
    settings, other = (made.settings for made in engine.made)
    assert settings.trunk == other.trunk == Credentials("agent", "secret", "trunk")
    assert (settings.operators, other.operators) == (Credentials("desk", "other"), None)
    assert (settings.listen, settings.rtp_ports) == (("127.0.0.1", 5099), (20000, 20099))
    assert (settings.codecs, settings.srtp, settings.transport) == (("PCMU",), "optional", "tcp")
    assert (settings.operators_srtp, other.operators_srtp) == ("optional", "off")
    assert (settings.registrar, settings.outbound_proxies) == ("", ("sip:pbx.example.net",))
    assert settings.media_timeout_s == 12
    assert "secret" not in repr(settings.trunk)


# --- what systemd is told ---


def looked(then: Callable[[Stub], object]) -> Callable[[Stub], None]:
    """In every poll anew, until it does not fail."""

    def again(stub: Stub) -> None:
        try:
            then(stub)
        except AssertionError:
            assert stub.polls < 9_000, "it is not told"
            stub.steps.insert(0, again)

    return again


def test_systemd_is_told_of_a_run(office: Office, manager: Notified) -> None:
    wrong = office.reloads("[service]\nname = 1")
    told = looked(lambda _: manager.wait_for("refused", 0.1))
    steps = (lambda _: None, *wrong, told, send(signal.SIGTERM))
    lines = office.run(*steps, systemd=Systemd(manager.address, watchdog_s=60.0))
    kinds = [said.partition("=")[0] for said in manager.all()]
    assert kinds == ["STATUS", "READY", "WATCHDOG", "STATUS", "RELOADING", "READY", "STATUS", "STOPPING"]
    assert manager.said[0] == f"STATUS={BEFORE_CALLS}" and events(lines, "reload_refused")
    assert manager.said[3] == "STATUS=0 calls of at most 1"


def test_a_loop_that_stands_still_gives_no_sign_of_life(office: Office, manager: Notified) -> None:
    """Signs come while polls return; none while one does not."""
    alive = looked(lambda _: manager.wait_for("WATCHDOG=1", 0.01))

    def stalls(_: Stub) -> None:
        assert manager.silent(0.5)  # five times as long as from one sign to the next

    office.run(alive, alive, stalls, alive, systemd=Systemd(manager.address, watchdog_s=0.2))
