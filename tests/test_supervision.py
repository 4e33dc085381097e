"""What the configuration gives to each child, and what a reload makes of it."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from threading import Event

import pytest
from structlog.testing import capture_logs

from retention.reserve import at_work
from sipagent.config.layout import EngineLimits
from sipagent.config.load import Config, ConfigError
from sipagent.config.sampling import keep_seed
from sipagent.config.types import Network
from sipagent.edge.configuration import EdgePlaces
from sipagent.edge.files import kept_tokens, places
from sipagent.edge.rpc import EdgeError
from sipagent.service import children, supervision
from sipagent.service import rules as service_rules
from sipagent.service.children import REGISTRAR, Child, RegistrarSpec, WorkerSpec
from sipagent.service.rules import HostNames
from sipagent.service.supervision import ChildSpecs, hop_tokens
from tests.configured import SMALL, read, with_keys
from tests.peers.tls import certified
from tests.tapping import PATIENCE_S

LIMITS = EngineLimits(legs=4)
FIVE = with_keys("trunk", 'rtp_ports = "20000-20127"', with_keys("capacity", "calls = 5", SMALL))
FIVE = with_keys("edge", 'worker_ports = "16000-16099"', FIVE)
FIVE = with_keys("refusal", 'engine = "none"', FIVE)  # the detector has tests of its own
EIGHT = with_keys("capacity", "calls = 8", FIVE)


def specs(text: str, where: Path) -> ChildSpecs:
    return ChildSpecs(read(text, where), LIMITS, log_json=True, drain_s=60.0)


@pytest.fixture
def house(where: Path) -> ChildSpecs:
    return specs(FIVE, where)


class Started(list[tuple[str, str, WorkerSpec | RegistrarSpec]]):
    """In place of `Child`: what would be started."""

    def __call__(self, name: str, target: str, spec: WorkerSpec | RegistrarSpec) -> Child:
        self.append((name, target, spec))
        return None  # type: ignore[return-value]

    def workers_of(self, house: ChildSpecs) -> list[WorkerSpec]:
        """All that would be started now; the workers of these."""
        self.clear()
        for place in house.slots():
            place.start(())
        return [spec for _, _, spec in self if isinstance(spec, WorkerSpec)]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    started = Started()
    monkeypatch.setattr(children, "Child", started)
    return started


# --- what an agent before it has left ---


def left(config: Config) -> EdgePlaces:
    """What an edge leaves that was killed in a call."""
    where = places(config.places.edge)
    hop_tokens(config)
    where.dialogs.mkdir(exist_ok=True)
    for name in ("dialog", "dialog_vars", "version", "dialog.unread"):
        (where.dialogs / name).write_text("+33612345678")
    return where


def test_after_a_total_kill_no_dialog_and_no_secret_is_kept(where: Path) -> None:
    config = read(FIVE, where)
    tokens, there = hop_tokens(config), left(config)
    assert hop_tokens(config) != tokens
    assert not [*there.dialogs.iterdir()]


def test_where_a_worker_still_has_calls_both_stay(where: Path) -> None:
    config = read(FIVE, where)
    for index in range(2):
        with at_work(config.places, index):
            pass
    there = left(config)
    tokens = kept_tokens(there)
    with at_work(config.places, 1):
        assert hop_tokens(config) == tokens
    assert (there.dialogs / "dialog").read_text() == "+33612345678"
    assert hop_tokens(config) != tokens


def test_somebody_elses_edge_keeps_its_secret(where: Path) -> None:
    config = read(with_keys("edge", "start = false", FIVE), where)
    assert hop_tokens(config) == hop_tokens(config) == kept_tokens(places(config.places.edge))


def test_a_secret_that_cannot_be_kept_is_one_line(where: Path) -> None:
    config = read(FIVE, where)
    config.places.edge.write_text("no folder")
    with pytest.raises(EdgeError, match="edge: ") as error:
        hop_tokens(config)
    assert "\n" not in str(error.value)


# --- whether it is needed, and what each is given ---


@pytest.mark.parametrize("in_call", ["key", "key+voice"])
def test_a_detector_that_loads_what_is_to_be_heard_has_an_address(
    where: Path, in_call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipagent.service.children.asked", lambda *_: ("", ""))
    text = with_keys("refusal", f'engine = "embedding"\nin_call = "{in_call}"', FIVE)
    found = specs(text, where).detector
    assert found is not None and (found.engine, found.in_call) == ("embedding", in_call == "key+voice")


def test_more_calls_than_one_process_carries_with_a_leg_to_spare(
    where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call on loopback asks no engine."""
    monkeypatch.setattr(children, "engine_limits", lambda: pytest.fail("it was asked"))
    assert not supervision.needed(read(SMALL, where))
    assert supervision.needed(read(with_keys("trunk", 'listen = "0.0.0.0:5060"', SMALL), where))
    for legs in (4, 5, 512):
        monkeypatch.setattr(children, "engine_limits", lambda legs=legs: EngineLimits(legs))
        assert supervision.needed(read(with_keys("capacity", "calls = 2", SMALL), where)) == (legs < 5)


def test_each_worker_has_ports_of_its_own_and_leaves_by_the_edge(
    where: Path, house: ChildSpecs, started: Started
) -> None:
    posts = started.workers_of(house)
    assert [name for name, *_ in started] == ["worker-0", "worker-1", "worker-2"]
    assert {target for _, target, _ in started} == {"sipagent.service.worker:work"}
    assert [spec.listen for spec in posts] == [("127.0.0.1", port) for port in (16002, 16003, 16004)]
    assert [spec.rtp_ports for spec in posts] == [(20000, 20031), (20032, 20063), (20064, 20095)]
    common = {(spec.edge, spec.media.media_address, spec.rules.calls) for spec in posts}
    assert common == {("sip:127.0.0.1:16000;lr", "127.0.0.1", 2)}
    elsewhere = specs(with_keys("trunk", 'listen = "127.0.0.5:5060"', FIVE), where)
    assert {spec.media.media_address for spec in started.workers_of(elsewhere)} == {"127.0.0.5"}


def test_the_account_is_a_child_of_its_own_where_there_is_a_registrar(where: Path, started: Started) -> None:
    started.workers_of(specs(with_keys("trunk", 'registrar = "sip:127.0.0.9"', FIVE), where))
    name, target, spec = started[-1]
    assert (name, target) == (REGISTRAR, "sipagent.service.registrar:keep_registered")
    assert isinstance(spec, RegistrarSpec)
    assert (spec.listen, spec.edge) == (("127.0.0.1", 16001), "sip:127.0.0.1:16000;lr")


# --- TLS ---


def secured(where: Path, valid: timedelta = timedelta(days=90)) -> str:
    files = certified(where.parent, "edge", "127.0.0.1", valid=valid)
    names = 'certificate = "edge.pem"\nprivate_key = "edge.key"'
    return with_keys("edge", f'tls_listen = "127.0.0.1:5061"\n{names}\nca = "{files.ca}"', FIVE)


def test_a_key_that_is_not_the_certificates_stops_the_start_and_a_reload(where: Path) -> None:
    """Where somebody else starts the edge, its files are his."""
    text = secured(where)
    ours = specs(text, where)
    (where.parent / "edge.key").write_bytes(certified(where.parent, "another").key.read_bytes())
    said = r"config.toml: edge.private_key: \S+edge.key: is of another certificate; accepted: the key of edge"
    with pytest.raises(ConfigError, match=said):
        specs(text, where)
    before = ours.config
    with pytest.raises(ConfigError, match=said):
        ours.change(read(text, where))
    assert ours.config is before
    (where.parent / "edge.key").unlink()
    assert specs(with_keys("edge", "start = false", text), where).plan.tls


@pytest.mark.parametrize(
    ("days", "said"),
    [(-1, "edge.pem has expired, on "), (29, "edge.pem expires in 28 days, on "), (90, None)],
)
def test_a_certificate_that_is_too_old_soon_is_told_at_the_start_and_at_a_reload(
    where: Path, days: int, said: str | None
) -> None:
    text = secured(where, timedelta(days=days))
    with capture_logs() as logs:
        specs(text, where).change(read(text, where))
    told = [line["reason"] for line in logs if line["event"] == "alert"]
    assert len(told) == (2 if said else 0)
    assert all(one.startswith("edge.certificate: ") and said and said in one for one in told)


# --- reload ---


def changed(house: ChildSpecs, text: str) -> tuple[range, set[str]]:
    """The workers that come, and the keys that are said to need a restart."""
    with capture_logs() as logs:
        more = house.change(read(text, house.config.file))
    return more, {line["key"] for line in logs if line["event"] == "needs_restart"}


def test_more_calls_bring_more_workers_and_leave_the_others(house: ChildSpecs, started: Started) -> None:
    def ports() -> list[tuple[object, object]]:
        return [(spec.listen, spec.rtp_ports) for spec in started.workers_of(house)]

    before = ports()
    assert changed(house, EIGHT) == (range(3, 4), set())
    assert ports() == [*before, (("127.0.0.1", 16005), (20096, 20127))]
    assert (house.plan.calls, house.plan.workers) == (8, 4)


def test_a_worker_that_is_started_later_is_like_the_others_whatever_the_file_says(
    house: ChildSpecs, started: Started
) -> None:
    """It is called where it listens, keeps in the same place, and seals, answers and hears as they do."""
    before = started.workers_of(house)
    moved = with_keys("recording", 'directory = "elsewhere"\nformat = "wav"', FIVE)
    moved = with_keys("retention", 'database = "other.db"', with_keys("trunk", 'codecs = ["PCMU"]', moved))
    moved = moved.replace("16000-16099", "17000-17099").replace("20000-20127", "30000-30999")
    waits = {
        "recording.directory",
        "retention.database",
        "trunk.codecs",
        "edge.worker_ports",
        "trunk.rtp_ports",
    }
    for _ in range(2):
        assert changed(house, moved)[1] == waits
    after = started.workers_of(house)
    for was, now in zip(before, after, strict=True):
        assert (now.listen, now.edge, now.rtp_ports) == (was.listen, was.edge, was.rtp_ports)
        assert now.config.recording.format == "wav"
        for key in waits:
            table, _, name = key.partition(".")
            values = (getattr(getattr(one.config, table), name) for one in (was, now))
            assert len(set(values)) == 1, key


NO_PORTS = "48 or more: 16 for each of 3 workers"
ABSENT = r"recording.recipients: .*absent.pub: No such file"
PROMISING = with_keys("prompts", 'notice = "prompts/fr/notice_voice.wav"', FIVE)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (with_keys("capacity", "calls = 16", FIVE), "rtp_ports"),
        (with_keys("prompts", 'notice = "absent.wav"', EIGHT), "absent.wav"),
        (with_keys("recording", 'recipients = ["absent.pub"]', FIVE), ABSENT),
        (
            with_keys("refusal", 'engine = "embedding"', PROMISING),
            "promises a spoken refusal, which nobody hears",
        ),
    ],
)
def test_what_is_wrong_changes_nothing(where: Path, house: ChildSpecs, text: str, why: str) -> None:
    before = (house.config, house.rules, house.layout, house.plan)
    with pytest.raises(ConfigError, match=why):
        house.change(read(text, where))
    assert (house.config, house.rules, house.layout, house.plan) == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (with_keys("trunk", 'rtp_ports = "20000-20041"', FIVE), NO_PORTS),
        (with_keys("recording", 'recipients = ["absent.pub"]', FIVE), ABSENT),
    ],
)
def test_and_stops_the_start(where: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        specs(text, where)


def test_more_workers_than_there_are_ports_for_at_the_edge(where: Path) -> None:
    house = specs(with_keys("edge", 'worker_ports = "16000-16004"', FIVE), where)
    with pytest.raises(ConfigError, match=r"edge.worker_ports: holds 5 ports; accepted: 6 or more"):
        house.change(read(EIGHT, where))


# --- where host names lead ---

NAMES = with_keys(
    "trunk", 'allowed_sources = []\nregistrar = "sip:trunk.test"\nusername = "a"\npassword_env = "P"', FIVE
)
NAMES = with_keys("operators", 'extensions = ["sip:201@pbx.test", "sip:202@192.0.2.9"]', NAMES)


class World(dict[str, list[str]]):
    """Where names lead now; the others are unknown."""

    def __call__(self, host: str) -> tuple[Network, ...]:
        if host not in self:
            raise OSError(2, "no such name")
        return tuple(ip_network(one) for one in self[host])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(service_rules, "look_up", world)
    return world


def trunk_of(house: ChildSpecs) -> list[str]:
    assert house.rules.allowed == house.plan.addresses.trunk
    return [str(one.network_address) for one in house.plan.addresses.trunk]


def test_a_name_that_is_unknown_at_the_start_lets_nobody_call_until_it_is_found(
    where: Path, world: World
) -> None:
    said: list[str] = []
    names = HostNames(read(NAMES, where), lambda: None, said.append)
    house = ChildSpecs(read(NAMES, where), LIMITS, log_json=True, drain_s=0.0, look=names.known)
    own = house.plan.addresses.own
    names.look()
    names.look()
    assert trunk_of(house) == [] and not house.look_again() and not names.changed.is_set()
    assert names.lacks() == ["pbx.test is not found", "trunk.test is not found"]
    assert said == [
        f"{one} can't be looked up: no such name; it is tried again" for one in ("pbx.test", "trunk.test")
    ]
    assert [str(one.network_address) for one in house.plan.addresses.operators] == ["192.0.2.9"]
    world |= {"trunk.test": ["192.0.2.1"], "pbx.test": ["192.0.2.2"]}
    names.look()
    assert names.changed.is_set() and names.lacks() == []
    assert house.look_again() and trunk_of(house) == ["192.0.2.1"]
    assert [str(one.network_address) for one in house.plan.addresses.operators] == ["192.0.2.2", "192.0.2.9"]
    assert house.plan.addresses.registrar == house.plan.addresses.trunk and house.plan.addresses.own == own
    assert not house.look_again()


@pytest.mark.parametrize(("found", "moved"), [("2001:db8::9", True), ("192.0.2.1", False)])
def test_a_trunk_that_is_found_late_by_another_way_needs_a_new_start(
    where: Path, world: World, found: str, moved: bool
) -> None:
    """What others are told of us was chosen without it. Later there may be calls, which go on as they are."""
    text = with_keys("trunk", 'listen_ipv6 = "[2001:db8::7]:5062"', NAMES)
    names = HostNames(read(text, where), lambda: None, lambda _: None)
    house = ChildSpecs(read(text, where), LIMITS, log_json=True, drain_s=0.0, look=names.known)
    world["pbx.test"] = ["2001:db8::8"]
    names.look()
    assert house.look_again() and not house.moved
    world["trunk.test"] = [found]
    names.look()
    assert house.look_again() and house.moved is moved
    world["trunk.test"] = ["2001:db8::10"]
    names.look()
    assert house.look_again() and house.moved is moved


def test_where_a_name_has_led_counts_for_a_day_and_for_as_long_as_it_is_unknown(
    where: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = HostNames(read(NAMES, where), lambda: None, lambda _: None)

    def led(hours: float, *to: str) -> list[str]:
        if to:
            world["trunk.test"] = list(to)
        else:
            world.pop("trunk.test", None)
        with monkeypatch.context() as context:
            context.setattr("time.monotonic", lambda: hours * 3600.0)
            names.look()
        return [str(one.network_address) for one in names.known("trunk.test")]

    assert led(0, "192.0.2.1") == ["192.0.2.1"]
    assert led(23, "192.0.2.2") == led(23.9) == ["192.0.2.1", "192.0.2.2"]
    assert led(100) == ["192.0.2.1", "192.0.2.2"]
    assert led(101, "192.0.2.3") == ["192.0.2.3"]


def test_other_names_of_a_reload_are_looked_up_at_once(where: Path, world: World) -> None:
    world |= {"trunk.test": ["192.0.2.1"], "pbx.test": ["192.0.2.2"], "desk.test": ["192.0.2.3"]}
    woken = Event()
    names = HostNames(read(NAMES, where), woken.set, pytest.fail)
    with names.kept():
        assert names.changed.is_set()  # what is there at once is in force from the start on
        woken.clear()
        names.ask(read(with_keys("operators", 'extensions = ["sip:201@desk.test"]', NAMES), where))
        assert woken.wait(PATIENCE_S)
    assert names.known("desk.test") == (ip_network("192.0.2.3"),)


def test_a_reload_leaves_the_seed_of_the_draws_and_who_may_call_to_the_edge(
    where: Path, house: ChildSpecs
) -> None:
    seed = keep_seed(where.with_name("some.seed"))
    house.rules = replace(house.rules, seed=seed)
    text = with_keys("trunk", 'allowed_sources = ["192.0.2.0/24"]', FIVE)
    changed(house, with_keys("recording", "share = 0.5", text))
    assert house.rules.seed == seed
    assert [str(one) for one in house.plan.addresses.trunk] == ["192.0.2.0/24"]
