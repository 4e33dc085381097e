"""Makes rules of calls, seed and detectors from the configuration, at the start and at each reload; and reads
what no configuration says: what is different today, and where host names lead now.

Some keys wait for a restart: for one process, and for workers behind an edge. After a reload the file is in
force, except for those keys: all of them stay as they were. So values that belong together still fit: a
notice and the detector of the words that it asks for, a worker's folder and the one that is purged. If the
new and the waiting keys do not fit together, the whole reload is refused.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

import structlog

from media.hearing.keyword import DetectorUnavailable
from media.prompt import PromptError, PromptFile
from retention.records import Special
from retention.rows.rows import StoreError
from retention.texts import Reason, reason_of, strerror
from sipagent.agent.admission import Admission, admission, refuse_unrecordable
from sipagent.agent.stored import store_of
from sipagent.call import events as e
from sipagent.config import rules as config_rules
from sipagent.config.load import Config, ConfigError, uri_host
from sipagent.config.sampling import Seed, SeedError, keep_seed
from sipagent.config.types import Network
from sipagent.edge.plan import LookUp, look_up, pbx_hosts
from sipagent.logs import alert
from sipagent.service.control import Alarms, Orders, attempt
from sipagent.text.notice import promises, unkept
from sipagent.voice.detectors import Detectors, detectors, keys_alone, loaded

# The keys and words that these promise must count.
PROMISES = (e.Prompt.NOTICE, e.Prompt.DETAILS, e.Prompt.CONFIRM)


def _promising(sounds: Mapping[e.Prompt, PromptFile]) -> list[PromptFile]:
    return [sounds[prompt] for prompt in PROMISES if prompt in sounds]


def rules_of(config: Config, look: LookUp = look_up) -> Admission:
    """The rules of calls, without a seed. Raises ConfigError, also if a prompt promises what does not
    work. `look`: see `allowed_sources`."""
    try:
        rules = admission(config, look)
    except PromptError as wrong:
        raise ConfigError(
            config.file, "prompts", Reason("{0}: {1}", wrong.path, wrong.problem), reason_of(wrong.accepted)
        ) from wrong
    spoken = {language: _promising(one) for language, one in rules.sounds.items()}
    if broken := unkept(config, spoken):
        accepted = Reason("refusal.engine and keywords that hear it, or a notice that names keys alone")
        raise ConfigError(config.file, "prompts", broken, accepted)
    promised = {
        (language, wish)
        for language, (notice, *_) in spoken.items()
        for wish in (e.Wish.REFUSE, e.Wish.ACCEPT)
        if promises(config, language, notice, refusing=wish is e.Wish.REFUSE)
    }
    return replace(rules, policy=replace(rules.policy, promised=frozenset(promised)))


def with_seed(rules: Admission, config: Config, known: Seed | None = None) -> Admission:
    """These rules with the seed of draws. Without a seed, no call is recorded if only a share of calls would
    be."""
    return replace(rules, seed=known or _seed(config))


def _seed(config: Config) -> Seed | None:
    try:
        return keep_seed(config.places.seed)
    except (SeedError, OSError) as wrong:
        alert(f"{wrong}; until then no call is drawn where recording.share is below 1")
        return None


def listening(config: Config) -> tuple[Config, Detectors]:
    """The configuration in force on this machine, and its detectors, see `loaded`. Raises ConfigError for an
    engine that the file names; that the default one does not listen is an alert."""
    try:
        in_force, found, trouble = loaded(config)
    except DetectorUnavailable as wrong:
        raise ConfigError(config.file, wrong.key, reason_of(wrong)) from wrong
    if trouble:
        alert(f"refusal.engine: {trouble}")
    return in_force, found


def detectors_of(config: Config) -> Detectors:
    """The detectors of spoken refusals. Raises ConfigError for a phrase that no detector hears."""
    try:
        return detectors(config)
    except DetectorUnavailable as wrong:
        raise ConfigError(config.file, wrong.key, reason_of(wrong)) from wrong


log = structlog.get_logger(__name__)

LOOK_S = 2.0  # between two looks at what is different today
END_S = 5.0  # that a database which stands still is waited for


def with_specials(rules: Admission, specials: tuple[Special, ...]) -> Admission:
    """These rules where that is different; a message that they do not have is an alert."""
    known = rules.messages.get(rules.language, {})
    for one in specials:
        if one.message is not None and one.message not in known:
            alert(f"the message {one.message} is set, and prompts.messages does not have it: nobody hears it")
    log.info("today", different=len(specials))
    return rules.on(specials)


@contextmanager
def today_read(config: Config, orders: Orders, wake: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Read every few seconds what is different today, in the thread `today`, and `wake` who heeds the orders.

    While the database is away, what was known stays in force until it ends.
    """
    over, away = threading.Event(), False

    def read() -> None:
        nonlocal away
        with store_of(config) as store:
            while not over.is_set():
                if (found := store.specials()) != orders.specials:
                    orders.specials = found
                    wake()
                away = False
                over.wait(LOOK_S)

    def fails(fault: str) -> None:
        nonlocal away
        if not away:
            alert(f"what is different today cannot be read: {fault}")
        away = True

    def run() -> None:
        while not over.is_set():
            attempt(read, (StoreError, ConfigError, OSError), fails)
            over.wait(LOOK_S)

    thread = threading.Thread(target=run, name="today", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(END_S)


AGAIN_S = 60.0  # between two look-ups of the same host names
SOON_S = 5.0  # the same, while one of them is unknown
BEGIN_S = 5.0  # that a start waits for the first answers
KEPT_S = 24 * 3600.0


class HostNames:
    """Where the host names of the configuration lead, looked up again and again in the thread `names`.

    A service that starts before its network is up finds them later, and notices when one leads elsewhere.
    What a name has led to counts for `KEPT_S`: many lead to some of their addresses at a time, in turn. While
    it is unknown, what it led to before counts on. Any thread may read; `wake` is called in the thread.
    """

    def __init__(self, config: Config, wake: Callable[[], object], alert: Callable[[str], None]) -> None:
        self.changed = threading.Event()
        self._names = _names(config)
        self._wake = wake
        self._alarms = Alarms(alert)
        self._seen: dict[str, dict[Network, float]] = {}  # and when, monotonic s; replaced whole
        self._due, self._over, self._begun = threading.Event(), threading.Event(), threading.Event()

    def known(self, host: str) -> tuple[Network, ...]:
        """The addresses of a host, each as a network; never waits."""
        return _address(host) or tuple(self._seen.get(host, ()))

    def lacks(self) -> list[str]:
        """The names that nothing is known of, in words of a status."""
        return [f"{host} is not found" for host in self._names if not self.known(host)]

    def ask(self, config: Config) -> None:
        """Look up the names of another configuration, at once."""
        self._names = _names(config)
        self._due.set()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Look them up from now on; waits a moment for the first answers."""
        threading.Thread(target=self._run, name="names", daemon=True).start()  # a look-up can't be ended
        self._begun.wait(BEGIN_S)
        try:
            yield
        finally:
            self._over.set()
            self._due.set()

    def look(self) -> None:
        """Look all of them up once; waits."""
        for host in self._names:
            self._look_up(host)

    def _run(self) -> None:
        while not self._over.is_set():
            self._due.clear()
            attempt(self.look, (), self._alarms.tell)
            self._begun.set()
            self._due.wait(SOON_S if self.lacks() else AGAIN_S)

    def _look_up(self, host: str) -> None:
        try:
            found = look_up(host)
        except OSError as fault:
            self._alarms.tell(f"{host} can't be looked up: {strerror(fault)}; it is tried again", host)
            return
        self._alarms.end(host)
        before, now = self._seen.get(host, {}), time.monotonic()
        seen = {one: at for one, at in before.items() if now - at < KEPT_S} | dict.fromkeys(found, now)
        self._seen = {**self._seen, host: seen}
        if seen.keys() != before.keys():
            self.changed.set()
            self._wake()


def _names(config: Config) -> list[str]:
    registrar = config.trunk.registrar
    hosts = pbx_hosts(config) | ({uri_host(registrar)[0]} if registrar else set())
    return sorted(host for host in hosts if not _address(host))


def _address(host: str) -> tuple[Network, ...]:
    """The address that stands in the place of a host name."""
    try:
        return (ip_network(host),)
    except ValueError:
        return ()


BOUND, REGISTERED, IN_USE = "sockets are bound to it", "it is registered with that", "it is in use"
BEGUN = "what is up has begun with it"
HEARD = "the detector has begun with it"
FEWER = "it goes up without, not down"
MORE = "one process carries no more"

LISTENED_FOR = (
    *("refusal.engine", "refusal.mode", "refusal.keywords", "refusal.accept_keywords"),
    *("refusal.in_call", "refusal.in_call_keywords", "refusal.vosk_model", "refusal.heads"),
    "refusal.second",
)
"""The values that the detectors depend on: also the mode, since words that accept count in only one mode."""

ALWAYS: Mapping[str, str] = {
    **dict.fromkeys(("trunk.listen", "trunk.transport", "trunk.rtp_ports", "trunk.public_address"), BOUND),
    **dict.fromkeys(("trunk.listen_ipv6", "trunk.public_address_ipv6"), BOUND),
    **dict.fromkeys(("trunk.shared_address", "edge.tls_listen", "metrics.listen"), BOUND),
    **dict.fromkeys(("trunk.codecs", "trunk.srtp", "capacity.media_timeout_s"), BEGUN),
    "operators.srtp": BEGUN,
    "capacity.calls_per_process": BEGUN,
    **dict.fromkeys(("trunk.verify_identity", "trunk.identity_certificates", "trunk.identity_hosts"), BEGUN),
    **dict.fromkeys(("trunk.identity_roots", "trunk.identity_fresh_s"), BEGUN),
    **dict.fromkeys(("operators.username", "operators.password_file", "operators.password_env"), BEGUN),
    "operators.outbound_proxy": BEGUN,
    **dict.fromkeys(("trunk.uri", "trunk.registrar", "trunk.realm"), REGISTERED),
    **dict.fromkeys(("trunk.username", "trunk.password_file", "trunk.password_env"), REGISTERED),
    **dict.fromkeys(("retention.database", "retention.database_password_file"), IN_USE),
    **dict.fromkeys(("recording.directory", "cluster", "objects"), IN_USE),
    **dict.fromkeys(LISTENED_FOR, HEARD),
}
ALONE: Mapping[str, str] = {**ALWAYS, "trunk.allowed_sources": BOUND, "capacity.calls": MORE}
BEHIND_EDGE: Mapping[str, str] = {
    **ALWAYS,
    **dict.fromkeys(("edge.start", "edge.worker_ports"), BOUND),
    **dict.fromkeys(("edge.invites_per_s", "edge.certificate", "edge.private_key", "edge.ca"), BEGUN),
    "capacity.full_status": BEGUN,
    "capacity.calls": FEWER,
}


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The configuration in force from now on; `waits`: the keys that need a restart, with the reason."""

    config: Config
    rules: Admission
    waits: Mapping[str, str]


def reloaded(
    before: Config, rules: Admission, file: Config, shape: Mapping[str, str], look: LookUp = look_up
) -> Reloaded:
    """The result of reloading a file, while `before` and `rules` are in force.

    `shape` is ALONE or BEHIND_EDGE; the new rules have no seed. Raises ConfigError: then nothing changes.
    `look`: see `allowed_sources`.
    """
    if before.refusal.engine == "none" and not (before.refusal.engine_written or file.refusal.engine_written):
        file = keys_alone(file)  # the default engine could not be loaded at the start
    waits = waiting(before, file, shape)
    config = _as_it_was(file, before, waits)
    try:
        for complaint in config_rules.complaints(config):
            raise ConfigError(config.file, *complaint)
        refuse_unrecordable(config)
        after = rules_of(config, look)
        unheard = [key for key in LISTENED_FOR if key in waits]
        if unheard and _promised(after) != _promised(rules):
            what = "changes together with what callers are told, who might say what nobody hears"
            raise ConfigError(config.file, unheard[0], what, "both by a restart, or one without the other")
    except ConfigError as wrong:
        if not waits:
            raise
        problem = f"{wrong.problem} (until a restart, {', '.join(waits)} as before)"
        raise ConfigError(config.file, wrong.key, problem, wrong.accepted) from wrong
    return Reloaded(config, after, waits)


def waiting(before: Config, after: Config, shape: Mapping[str, str]) -> dict[str, str]:
    """The keys that differ and need a restart, with the reason."""
    nobody_listens = before.refusal.engine == after.refusal.engine == "none"
    return {
        key: reason
        for key, reason in shape.items()
        if _differs(before, after, key, reason) and not (nobody_listens and key in LISTENED_FOR)
    }


def _differs(before: Config, after: Config, key: str, reason: str) -> bool:
    was, is_now = _value(before, key), _value(after, key)
    return bool(is_now < was) if reason is FEWER else bool(is_now != was)


def _value(config: Config, key: str) -> Any:
    table, _, name = key.partition(".")
    return getattr(getattr(config, table), name) if name else getattr(config, table)


def _as_it_was(file: Config, before: Config, keys: Mapping[str, str]) -> Config:
    """The file's configuration with these keys as before."""
    tables: dict[str, dict[str, object]] = {}
    for key in keys:
        table, _, name = key.rpartition(".")
        tables.setdefault(table, {})[name] = _value(before, key)
    whole = tables.pop("", {})
    changed = {table: getattr(file, table).model_copy(update=kept) for table, kept in tables.items()}
    return file.model_copy(update=changed | whole)


def _promised(rules: Admission) -> dict[str, list[str]]:
    """The prompts that tell callers what to do, by language."""
    return {language: [one.sha256 for one in _promising(sounds)] for language, sounds in rules.sounds.items()}


def tell_waiting(taken: Reloaded) -> None:
    """Log each key that waits for a restart."""
    for key, reason in taken.waits.items():
        log.warning("needs_restart", key=key, detail=reason)
