"""Turns the configuration into rules of calls: who may call, how we listen, whether a call can be recorded.

`Admission` is a value, made anew when the configuration is reloaded; calls in progress keep theirs.

A missing key, or a folder in which no file can be made, would keep every call from being recorded. Both
can be found before a call:

    refuse_unrecordable(config)   at a start and a reload: a mistake of the configuration's is an error
    obstacles(config)             at any time: these, and the present obstacles of the machine

`Lateness`: whether the machine still keeps up. A process that does not takes no more calls.
"""

import ipaddress
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import prompts
from media.prompt import PromptFile as Sound
from media.prompt import inspect_prompt
from retention.records import Special, in_force
from retention.texts import Reason, strerror
from retention.vault import KeysError, read_public
from sipagent.agent.board import Strategy
from sipagent.agent.engine import Headers
from sipagent.call import events as e
from sipagent.call.machines import Codes
from sipagent.call.state import Policy
from sipagent.config.hours import Schedule, closures
from sipagent.config.load import Config, ConfigError, PromptSet
from sipagent.config.sampling import Seed, Shares, draw
from sipagent.config.tables import OperatorsTable
from sipagent.config.types import Network
from sipagent.edge.plan import LookUp, allowed_sources, look_up

SHIPPED = Path(prompts.__file__).parent


@dataclass(frozen=True, slots=True)
class Admission:
    """`sounds`: every language's; `numbers`: empty for any; `period`: how long recordings are kept, and
    `receipts_period` what leads to a person in receipts. Without a `seed` nobody is drawn for a sample.
    `ring_headers`: what an operator's phone gets besides the name that it shows. `host`: which of several
    this is. `messages`: of every language, by name; `specials`: what is different from the configuration."""

    policy: Policy
    country: str
    period: str
    receipts_period: str
    calls: int
    shares: Shares
    extensions: tuple[str, ...]
    wrap_up_s: float
    strategy: Strategy
    ring_headers: Mapping[e.Sign, Headers]
    allowed: tuple[Network, ...]
    numbers: frozenset[str]
    schedule: Schedule
    sounds: dict[str, dict[e.Prompt, Sound]]
    languages: dict[str, str]
    language: str
    seed: Seed | None = None
    host: str | None = None
    messages: Mapping[str, Mapping[str, Sound]] = field(default_factory=dict)
    specials: tuple[Special, ...] = ()

    def on(self, specials: tuple[Special, ...]) -> "Admission":
        """These rules where that is different."""
        schedule = replace(self.schedule, today=closures(specials))
        return replace(self, specials=specials, schedule=schedule)

    def language_of(self, called: str | None) -> str:
        """The language of a dialled number."""
        return self.languages.get(called or "", self.language)

    def spoken_at(self, now: datetime) -> dict[str, dict[e.Prompt, Sound]]:
        """The prompts of every language, with the message that is set for that moment."""
        every, name = self.sounds, self._message_at(now)
        told = {one: said[name] for one, said in self.messages.items() if name in said}
        return every | {one: every[one] | {e.Prompt.MESSAGE: sound} for one, sound in told.items()}

    def _message_at(self, now: datetime) -> str:
        special = in_force(self.specials, now)
        return (special and special.message) or ""

    def source_allowed(self, source: str) -> bool:
        """Whether `address:port` is one of those that may call."""
        try:
            address = ipaddress.ip_address(source.rpartition(":")[0].strip("[]"))
        except ValueError:
            return False
        return any(address in network for network in self.allowed)

    def offer(  # noqa: PLR0917 - what the world says, in the order in which the flow weighs it
        self, id: str, source: str, called: str | None, now: datetime, room: bool, draining: bool
    ) -> e.CallOffered:
        """The first fact of a call's flow. The draw for the sample is made here, before any notice."""
        present = self.shares.at(now)
        drawing = draw(self.seed, id, present.share)
        name, hours = self._message_at(now), self.schedule.state(now)
        told = {one: said[name].sha256 for one, said in self.messages.items() if name in said}
        return e.CallOffered(
            source_allowed=self.source_allowed(source),
            number_known=not self.numbers or called in self.numbers,
            room=room,
            draining=draining,
            open=hours.open,
            sampled=drawing.drawn,
            operator_begins=present.operator_begins,
            draw=str(drawing),
            may_choose=bool(self.policy.choices) and called not in self.languages,
            language=self.language_of(called),
            messages=tuple((one, f"message: {name}, sha256 {hash}") for one, hash in told.items()),
            closed="closed today" if hours.reason == "today" else "",
        )


def admission(config: Config, look: LookUp = look_up) -> Admission:
    """Raises ConfigError, and PromptError for a prompt that cannot play. `look`: see `allowed_sources`."""
    operators, refusal, shares = config.operators, config.refusal, config.shares()
    policy = Policy(
        opt_in=refusal.mode == "opt_in",
        refusal_digits=refusal.refusing,
        accept_digit=refusal.accept_digit,
        details_digit=refusal.details_digit,
        detailed=frozenset(one.language for one in config.prompt_sets() if one.details),
        choices=tuple(config.prompts.choices.items()),
        voice=refusal.engine != "none",
        in_call_voice=refusal.engine != "none" and refusal.in_call == "key+voice",
        window_s=refusal.window_s,
        ring_s=operators.ring_s,
        max_wait_s=operators.max_wait_s,
        say_position=operators.say_position,
        simultaneous=operators.strategy == "simultaneous",
        refer_targets=operators.refer_targets if operators.transfer == "refer" else (),
        transfer_targets=operators.transfer_targets or operators.extensions,
        codes=Codes(
            *(operators.stop_code, operators.pause_code, operators.flag_code),
            record=operators.record_code if True in shares.begins else "",
        ),
        stop_erases=operators.stop_erases,
        recording=config.recording.enabled,
        full_status=config.capacity.full_status,
    )
    return Admission(
        policy=policy,
        country=config.service.country,
        period=config.retention.period,
        receipts_period=config.retention.receipts_period,
        calls=config.capacity.calls,
        shares=shares,
        extensions=operators.extensions,
        wrap_up_s=operators.wrap_up_s,
        strategy=operators.strategy,
        ring_headers={sign: _ring_headers(operators, sign) for sign in e.Sign},
        allowed=allowed_sources(config, look),
        numbers=frozenset(config.trunk.numbers),
        schedule=config.schedule(),
        sounds={one.language: _inspected(one) for one in config.prompt_sets()},
        languages=dict(config.prompts.languages),
        language=config.service.language,
        host=config.host,
        messages={
            one.language: {name: inspect_prompt(path) for name, path in one.messages.items()}
            for one in config.prompt_sets()
        },
    )


def _ring_headers(operators: OperatorsTable, sign: e.Sign) -> Headers:
    """Alert-Info (RFC 3261 section 20.4) and the header with the sign, where they are configured."""
    recorded = sign is e.Sign.REC
    alert_info = operators.alert_info_recorded if recorded else operators.alert_info_not_recorded
    headers = (("Alert-Info", alert_info), (operators.recording_header, sign))
    return tuple((name, value) for name, value in headers if name and value)


def _inspected(files: PromptSet) -> dict[e.Prompt, Sound]:
    """Every prompt of a language; "please hold" is the shipped one, else music, where none is configured.

    "You are number three" lies beside it, or is the shipped one, else "please hold".
    """
    paths: dict[e.Prompt, Path | None] = {prompt: getattr(files, prompt.value, None) for prompt in e.Prompt}
    if files.please_hold is None:
        spoken = SHIPPED / files.language / "please_hold.wav"
        paths[e.Prompt.PLEASE_HOLD] = spoken if spoken.exists() else files.hold_music
    waits = paths[e.Prompt.PLEASE_HOLD] or files.hold_music
    for prompt in e.Prompt:
        if prompt.startswith("position_"):
            name = f"{prompt.value}.wav"
            ways = (waits.with_name(name), SHIPPED / files.language / name)
            paths[prompt] = next((way for way in ways if way.exists()), waits)
    return {prompt: inspect_prompt(path) for prompt, path in paths.items() if path}


def tones() -> dict[e.Tone, Path]:
    """The acknowledgement tones, which come with the program."""
    return {tone: inspect_prompt(SHIPPED / "tones" / f"{tone.value}.wav").path for tone in e.Tone}


Kind = Literal["clock", "turn", "invite"]
TOO_LATE_S: Mapping[Kind, float] = {"clock": 0.06, "turn": 0.25, "invite": 0.5}
SUSTAINED_S = 2.0  # so long something has been too late again and again: no room
APART_S = 1.0  # what was too late within so long of each other is one time of it
CALM_S = 4.0  # so long nothing was half as late: room again
LATELY_S = 1.5  # longer than between two words of a worker to the supervisor
STALE_S = 6.0  # a process at rest looks every five seconds
HEARD_S = 4.0  # how long what came late counts against our word about phones
NOTICED_S = 0.1  # less is no lateness


class Lateness:
    """How late one process does its work, by what has happened. Pure; times are monotonic seconds.

        clock     a leg's sound, against the time since it was last taken
        turn      the SIP thread: what was reported to it, or due, until it looked
        invite    a caller's INVITE, since the edge passed it on

    What is late counts for as much more as the calls that are up will have more legs, once all are bridged.

    The clock's facts come on another thread than the others. Two at once cost one of them.
    """

    def __init__(self) -> None:
        self._heard_at: dict[int, float] = {}  # by leg
        self._began = self._too_late_at = self._half_late_at = self._told_at = -math.inf
        self._worst_s, self._worst_at = 0.0, -math.inf
        self._full = False
        self._more = 1.0

    def promised(self, calls: int, legs: int) -> None:
        """So many calls are up, and have so many legs; each is to have two."""
        self._more = min(2.0, max(1.0, 2 * calls / max(1, legs)))

    def heard(self, leg: int, seconds: float, at: float) -> None:
        """So much of a leg's sound had come at `at`, after what had come before."""
        if (before := self._heard_at.get(leg)) is not None:
            self.was("clock", at - seconds - before, at)
        self._heard_at[leg] = at

    def forget(self, leg: int) -> None:
        """The leg has ended."""
        self._heard_at.pop(leg, None)

    def was(self, kind: Kind, late_s: float, now: float) -> None:
        """Something was done at `now`, so late."""
        self._told_at = now
        too_late_s = TOO_LATE_S[kind] / self._more
        if late_s * 2 < too_late_s:
            return
        self._half_late_at = now
        if kind != "clock" and (late_s >= self._worst_s or now - self._worst_at > HEARD_S):
            self._worst_s, self._worst_at = late_s, now
        if late_s >= too_late_s:
            if now - late_s - self._too_late_at > APART_S:
                self._began = now - late_s
            self._too_late_at = now
            self._full = self._full or now - self._began >= SUSTAINED_S

    def full(self, now: float) -> bool:
        """Whether one more call would be too much; never where nothing was told for a while."""
        if now - self._half_late_at >= CALM_S or now - self._told_at >= STALE_S:
            self._full = False
        return self._full

    def lately(self, now: float) -> bool:
        """Whether something was too late just now: of many processes this tells more than of one."""
        return now - self._too_late_at < LATELY_S

    def behind_s(self, now: float) -> float:
        """How long what phones have sent may lie unread."""
        late = now - self._worst_at <= HEARD_S and self._worst_s >= NOTICED_S
        return self._worst_s if late else 0.0


VAULT = "retention.database"  # the key that the vault's place follows from


@dataclass(frozen=True, slots=True)
class Obstacle:
    """`mistake`: the configuration names something that will never do; else it may pass."""

    key: str
    problem: str
    mistake: bool

    def __str__(self) -> str:
        return Reason("{0}: {1}", self.key, Reason(self.problem))


def refuse_unrecordable(config: Config) -> None:
    """Raises ConfigError where by mistake every call would go unrecorded, though it is announced."""
    for obstacle in obstacles(config):
        if obstacle.mistake:
            accepted = Reason("what lets calls be recorded, or recording.enabled = false")
            raise ConfigError(config.file, obstacle.key, obstacle.problem, accepted)


def obstacles(config: Config) -> list[Obstacle]:
    """All obstacles; none where nothing is to be recorded."""
    return [*_keys(config), *_places(config)] if config.recording.enabled else []


def _keys(config: Config) -> Iterator[Obstacle]:
    for path in config.recording.recipients:
        try:
            read_public(path)
        except KeysError as wrong:
            yield Obstacle("recording.recipients", str(wrong), mistake=True)


def _places(config: Config) -> Iterator[Obstacle]:
    yield from _place("recording.directory", config.recording.directory)
    if config.recording.recipients:
        yield from _place(VAULT, config.places.vault)


def _place(key: str, folder: Path) -> Iterator[Obstacle]:
    """A folder that files can be made in; one that is not there yet will be made."""
    try:
        there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        if not there.is_dir():
            yield Obstacle(key, Reason("{0} is not a directory", there), mistake=True)
        elif not os.access(there, os.W_OK | os.X_OK):
            yield Obstacle(key, Reason("{0} cannot be written to", there), mistake=False)
    except OSError as failure:
        yield Obstacle(key, Reason("{0}: {1}", folder, strerror(failure)), mistake=False)
