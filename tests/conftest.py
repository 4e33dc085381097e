"""What several test files begin with: a tap, an archive, a stage for the agent; phones and an agent, live."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from multiprocessing import active_children
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from media.recording import tap as tap_module
from media.recording.tap import Tap
from retention.archive import Archive
from retention.rows.rows import Rows
from sipagent.agent.admission import SHIPPED
from sipagent.service import children
from sipagent.service.control import Systemd
from sipagent.softphone.phone import Answering, Loop, Phone
from sipagent.softphone.rtp import SteadyTone
from tests import both, kept, tiers
from tests.driving import Stage, staged
from tests.notified import Notified
from tests.peers.agent import RunningAgent
from tests.peers.kamailio import Kamailio
from tests.peers.process import lasting_port
from tests.peers.tsa import Authority, serving
from tests.tapping import wait_for, writer_threads

if TYPE_CHECKING:  # imported by whoever asks for one: they take a second
    from tests.office import Office
    from tests.postgres import Server
    from tests.room import Room
    from tests.s3 import Moto, Weed

os.environ.pop("COLUMNS", None)  # tables are as wide as they need, whatever runs the tests
os.environ["LANGUAGE"] = "C"  # and English, but where a test asks for another language

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born without Ctrl-C

MEMORY, ROOM = "/dev/shm", 4 << 30  # bytes: a run has a tenth of it at once

hypothesis.settings.register_profile("full", deadline=None)  # a busy machine is no fault
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="as `make test-all`: every test, as deep as it goes")
    parser.addoption("--quick", action="store_true", help="as `make test`, also of files that are named")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before any module of tests is imported."""
    tiers.full = config.getoption("full")
    in_memory()
    hypothesis.settings.load_profile("full" if tiers.full else "quick")


def in_memory() -> None:
    """Folders of tests lie in memory where there is room: waiting for a disk is a tenth of a run.

    Where TMPDIR is set it stays. A kill leaves what was written either way; nothing here cuts the power.
    """
    with suppress(OSError):
        if shutil.disk_usage(MEMORY).free > ROOM:
            os.environ.setdefault("TMPDIR", MEMORY)
            tempfile.tempdir = None  # asks again


def names(config: pytest.Config) -> bool:
    """Whether somebody names the files of this run."""
    return config.args_source is not pytest.Config.ArgsSource.TESTPATHS


def chooses(config: pytest.Config) -> bool:
    """Whether this run leaves out what the quick tier does: not of files that somebody names."""
    return not tiers.full and (not names(config) or bool(config.getoption("quick")))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A module that is left out whole is not even imported."""
    path = collection_path.relative_to(config.rootpath).as_posix()
    return True if chooses(config) and path.endswith(".py") and tiers.left_out(path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = [item for item in items if chooses(config) and tiers.left_out(item.nodeid)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]
    if not names(config):  # else they come as they are named
        items.sort(key=lambda item: not tiers.lasts(item.nodeid))


@pytest.fixture
def quick_writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Taps are written at once, and none outlives its test."""
    monkeypatch.setattr(tap_module, "WRITE_EVERY_S", 0.01)
    yield
    wait_for(lambda: not writer_threads())


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "20261124T222000123-4f2a9c.part"


@pytest.fixture
def failures() -> list[str]:
    return []


@pytest.fixture
def tap(part: Path, failures: list[str]) -> Iterator[Tap]:
    tap = Tap(part, failures.append)
    yield tap
    tap.abandon()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    archive = kept.archive(tmp_path)
    yield archive
    archive.store.close()


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    """The command line over a folder of its own."""
    from tests.office import make_office

    return make_office(tmp_path, capsys)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """A whole configuration, with prompts of its own."""
    from tests.room import Room

    return Room(tmp_path / "agent")


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """A folder with the shipped prompts, and the name of a configuration in it."""
    (tmp_path / "prompts").symlink_to(SHIPPED)
    return tmp_path / "config.toml"


@pytest.fixture
def alerts() -> list[str]:
    return []


@pytest.fixture
def tsa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """A time stamping authority on loopback."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Authority(tmp_path / "tsa")) as authority:
        yield authority


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """An agent on an engine without a network."""
    with staged(tmp_path, monkeypatch) as stage:
        yield stage


# --- the engines of more than one host ---


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The PostgreSQL of this test run (of each worker its own), which is never stopped or killed."""
    from tests.postgres import primary

    with primary(settings={"wal_keep_size": "0", "max_wal_size": "64MB"}) as server:  # it may lie in memory
        yield server


@pytest.fixture
def database(request: pytest.FixtureRequest, postgres: Server) -> Iterator[str]:
    """The `postgresql://…` of a database: with the tables that its module wants, or empty."""
    from tests.postgres import fresh

    with fresh(postgres, getattr(request.module, "TABLES_OF_DATABASE", None)) as conninfo:
        yield conninfo


@pytest.fixture(scope="session")
def mortal() -> Iterator[Server]:
    """A PostgreSQL that may be stopped and killed; what it has written outlives that."""
    from tests.postgres import primary

    with primary() as server:
        yield server


@pytest.fixture
def mortal_url(mortal: Server) -> Iterator[str]:
    """The `postgresql://…` of a database of it, with all tables."""
    from tests.postgres import fresh
    from tests.shared import prepare

    if not mortal.running:
        mortal.start()
    with fresh(mortal, prepare) as conninfo:
        yield conninfo
        if not mortal.running:
            mortal.start()


def pytest_collection_finish() -> None:
    """What has been loaded is not looked through again: also not by each child that a test forks."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def memory_given_back() -> Iterator[None]:
    """A worker of a test run keeps little of what a module of tests has needed.

    What processes are forked from ends: of children 60 MB, of scenes 50. So does what free(3) holds on to.
    """
    yield
    if not active_children():  # a test that failed has left none
        children.end_server()
    if "tests.loopback" in sys.modules:
        sys.modules["tests.loopback"].end_server()
    ctypes.CDLL(None).malloc_trim(0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that says `DATABASES = BOTH` has each of its tests run over both, in the full tier."""
    databases = getattr(metafunc.module, "DATABASES", None)
    if databases is not None:
        alone = metafunc.definition.get_closest_marker("in_sqlite")
        chosen = [both.SQLITE] if alone else tiers.first(*databases)
        metafunc.parametrize("rows_in", chosen, indirect=True)
    if "objects" in metafunc.fixturenames:
        metafunc.parametrize("objects", tiers.first("moto", "weed"), indirect=True)


@pytest.fixture(autouse=True)
def rows_in(request: pytest.FixtureRequest) -> Iterator[None]:
    """The database in which this test has its rows."""
    with both.over(getattr(request, "param", both.SQLITE), lambda: request.getfixturevalue("postgres")):
        yield


@pytest.fixture
def store() -> Iterator[Rows]:
    """Nothing is in it yet."""
    with both.opened() as store:
        yield store


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """The SeaweedFS of this test run (of each worker its own), which is never stopped or killed."""
    from tests.s3 import Weed

    with Weed(tmp_path_factory.mktemp("weed")) as server:
        yield server.start()


@pytest.fixture
def moto() -> Iterator[Moto]:
    """An object store in this process, with nothing in it. A hold is kept, and hinders nothing."""
    from tests.s3 import Moto

    with Moto() as server:
        yield server


@pytest.fixture
def objects(request: pytest.FixtureRequest) -> Moto | Weed:
    """Either of them."""
    found: Moto | Weed = request.getfixturevalue(request.param)
    return found


# --- systemd ---


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Notified]:
    """Stands in systemd's place."""
    manager = Notified(tmp_path / "notify")
    yield manager
    manager.close()


@pytest.fixture
def systemd(manager: Notified) -> Systemd:
    """What the program tells `manager` by."""
    return Systemd(manager.address, watchdog_s=60.0)


# --- live, on loopback ---

CALLER_HZ, OPERATOR_HZ = 440, 1000
AgentFactory = Callable[..., RunningAgent]
PhoneFactory = Callable[..., Phone]


@pytest.fixture
def phone_loop() -> Iterator[Loop]:
    with Loop() as loop:
        yield loop


@pytest.fixture
def phone_factory(phone_loop: Loop, agent_factory: AgentFactory) -> Iterator[PhoneFactory]:
    """Make phones: `phone_factory(user, hz, ip=…)`; they hang up at the end, before any agent ends."""
    with ExitStack() as stack:

        def make(user: str, hz: float, **how: Any) -> Phone:
            phone = stack.enter_context(Phone(phone_loop, user, **how))
            phone.sound = lambda: SteadyTone(hz)
            stack.callback(end_calls, phone)
            return phone

        yield make


def end_calls(phone: Phone) -> None:
    """What a failed test has left up would keep the agent from ending."""
    for call in [] if phone.closed else phone.calls:
        call.end()
        if not call.outgoing:
            call.decide(480)


@pytest.fixture(scope="module")
def operator_port() -> int:
    return lasting_port()


@pytest.fixture
def operator_phone(phone_factory: PhoneFactory, operator_port: int) -> Phone:
    """A desk phone that answers after 0.1 s and says 1000 Hz."""
    phone = phone_factory("201", OPERATOR_HZ, port=operator_port)
    phone.answer = Answering(after_s=0.1)
    return phone


@pytest.fixture
def caller_phone(phone_factory: PhoneFactory) -> Phone:
    """A caller who says 440 Hz."""
    return phone_factory("+33612345678", CALLER_HZ, display="Ann")


def default_operators(port: int) -> dict[str, Any]:
    return {"operators": {"extensions": [f"sip:201@127.0.0.1:{port}"]}}


@pytest.fixture
def agent_factory(tmp_path: Path, operator_port: int) -> Iterator[AgentFactory]:
    """Start agents: `agent_factory(refusal={"window_s": 2})`; each must end well."""
    agents: list[RunningAgent] = []

    def make(*arguments: str, start: bool = True, **overrides: Mapping[str, Any]) -> RunningAgent:
        tables = default_operators(operator_port)
        for name, keys in overrides.items():
            tables.setdefault(name, {}).update(keys)
        agent = RunningAgent(tmp_path / f"agent{len(agents)}", tables)
        agents.append(agent)
        return agent.start(*arguments) if start else agent

    yield make
    for agent in agents:
        if agent.started:
            agent.close()


@pytest.fixture(scope="module")
def module_agent(tmp_path_factory: pytest.TempPathFactory, operator_port: int) -> Iterator[RunningAgent]:
    """One agent as it is delivered, for all tests of a module that want no other."""
    agent = RunningAgent(tmp_path_factory.mktemp("module") / "agent", default_operators(operator_port))
    yield agent
    if agent.started:
        agent.close()


@pytest.fixture
def agent(module_agent: RunningAgent) -> RunningAgent:
    """The module's agent, with no call up and the past forgotten."""
    if not module_agent.started or not module_agent.child.running:
        module_agent.start()
    module_agent.forget()
    return module_agent


@pytest.fixture
def registrar(tmp_path: Path) -> Iterator[Kamailio]:
    """Kamailio, not yet started."""
    kamailio = Kamailio(tmp_path)
    yield kamailio
    kamailio.stop()
