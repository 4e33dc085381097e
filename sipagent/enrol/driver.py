"""The driver of enrolments: reports of the engine come in, the flow of their call decides, commands go out.

One thread: it lets the engine work, then hears what it was given, then looks at the clock. The sound comes on
the engine's thread and is only put into the queue. Nothing that is said is on disk before `Keep`.

Who may call, and by which way: the operators' own addresses, through their own Kamailio. The trunk's
addresses may not, for whoever calls from outside can show any number. As for `run`, Kamailio stands in front
where `trunk.listen` is not loopback. Here it has one worker, which is this process's engine.

The prompts lie in `prompts/enrol/xx`; a folder of the service's own may replace any of them by one of the
same name. A phrase without a prompt is asked for by the one that says "the phrase that was agreed", so there
may be one such phrase at most.
"""

import queue
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import prompts
from media.frame import Samples
from media.hearing.dtmf import ToneDetector, ToneHeard
from media.prompt import PromptFile, inspect_prompt
from media.training.enrolled import EnrolledPerson
from retention.texts import Reason, WithReason, strerror
from sipagent.agent.engine import Engine, EngineFault, EngineSettings, Incoming, OfLeg, Report
from sipagent.agent.engine import SoundEnded as SoundOver
from sipagent.call import events as e
from sipagent.config.errors import counted
from sipagent.config.identity import called_number, caller_number
from sipagent.config.load import Config, ConfigError
from sipagent.config.tables import folder_name, words_of
from sipagent.config.types import HostPort
from sipagent.edge.files import kept_tokens, places
from sipagent.edge.plan import BEFORE_WORKERS, Addresses, Plan, addresses, allowed_sources, media_addresses
from sipagent.edge.process import EdgeProcess
from sipagent.enrol import flow as f
from sipagent.enrol.keeping import Colleague, TakenSaying, is_kept, keep
from sipagent.enrol.saying import SayingEar

SHIPPED = Path(prompts.__file__).parent / "enrol"
LANGUAGES = tuple(sorted(path.name for path in SHIPPED.iterdir() if path.is_dir()))
TIMES = 5
"""How often each phrase is said."""
SENTENCES = 8
"""How many sentences refuse nothing, of media/training/languages: `talk_1` and so on ask for them. The last
three sound like a refusal: else a head learns that this voice refuses."""
AGREED = "agreed"
ALWAYS = (
    f.WELCOME,
    f.REMINDER,
    f.DECLINED,
    f.THANKS,
    f.GIVEN_UP,
    f.FAILED,
    *(fault.value for fault in f.SayingFault),
)


class ScriptError(WithReason):
    """What can't be asked for, and what is accepted; str() is one line."""


@dataclass(frozen=True, slots=True)
class EnrolScript:
    """The steps, and the file of each prompt that they or the flow name."""

    language: str
    steps: tuple[f.ScriptStep, ...]
    sounds: dict[str, PromptFile]


def default_phrases(keywords: Sequence[str], language: str) -> tuple[str, ...]:
    """The configured phrases without those that only other languages have."""
    ours = words_of([language], "keywords")
    others = {word for one in ("fr", "en", "de", "es") for word in words_of([one], "keywords")} - {*ours}
    return tuple(word for word in keywords if word not in others)


def script(phrases: Sequence[str], language: str, own: Path | None = None, times: int = TIMES) -> EnrolScript:
    """Each phrase so many times, then the sentences. Raises ScriptError, PromptError."""
    if not phrases:
        raise ScriptError("no phrase to say; accepted: --phrase")
    asks = {phrase: f"say_{folder_name(phrase)}" for phrase in phrases}
    agreed = [phrase for phrase, ask in asks.items() if not _path(ask, language, own).exists()]
    if len(agreed) > 1:
        raise ScriptError(
            "no prompt says {0!r} nor {1!r}; accepted: one such phrase, which is agreed "
            "beforehand, or {2}.wav in enrol.prompts",
            agreed[0],
            agreed[1],
            asks[agreed[0]],
        )
    asks |= dict.fromkeys(agreed, AGREED)
    steps = [
        f.ScriptStep(ask if nth == 1 else f"again_{min(nth, TIMES)}", ask, phrase, phrase)
        for phrase, ask in asks.items()
        for nth in range(1, times + 1)
    ]
    sounds: dict[str, PromptFile] = {}
    for name in (f"talk_{nth}" for nth in range(1, SENTENCES + 1)):
        sounds[name] = inspect_prompt(_path(name, language, own))
        steps.append(f.ScriptStep(name, name, _sentence(sounds[name]), None))
    named = {*ALWAYS, *(step.ask for step in steps), *(step.again for step in steps)} - {*sounds}
    sounds |= {name: inspect_prompt(_path(name, language, own)) for name in sorted(named)}
    sounds[f.TONE] = inspect_prompt(SHIPPED / "tone.wav")  # the ear knows this one
    return EnrolScript(language, tuple(steps), sounds)


def _sentence(prompt: PromptFile) -> str:
    """What a prompt asks to say: `After the tone, say: I'm looking for my file.`"""
    sentence = (prompt.words or "").partition(":")[2].strip().replace("’", "'")
    if not sentence:
        raise ScriptError("{0}: its .txt does not say what is to be said, after a colon", prompt.path)
    return sentence


def _path(name: str, language: str, own: Path | None) -> Path:
    ours = own / f"{name}.wav" if own else None
    return ours if ours and ours.exists() else SHIPPED / language / f"{name}.wav"


POLL_S = 0.1
SHORT_MS = 60  # a sound may end this much before its length: the clocks of two threads
LAST_S = 2.0


@dataclass(frozen=True, slots=True)
class _Sound:
    """(n,) int16 that a leg has sent."""

    leg: int
    samples: Samples


@dataclass(slots=True)
class _EnrolCall:
    """A call under way; times are monotonic s."""

    flow: f.EnrolFlow
    who: Colleague
    token: int = -1
    began: float = 0.0
    prompt: str = ""
    consented_at: datetime | None = None
    ear: SayingEar | None = None
    tones: ToneDetector = field(default_factory=ToneDetector)
    taken: list[TakenSaying] = field(default_factory=list)


class Enrolments:
    """Takes calls until it is told to stop, by `config.enrol`.

    `replaces`: whose voice may be replaced, once, as `folder_name` writes them. `kept` is told who was kept,
    `declined` who has a voice there already, `failed` what went wrong.
    """

    def __init__(
        self,
        config: Config,
        script: EnrolScript,
        replaces: Collection[str] = (),
        *,
        kept: Callable[[EnrolledPerson], None],
        declined: Callable[[str], None],
        failed: Callable[[str], None],
    ) -> None:
        assert config.enrol
        self._table, self._country = config.enrol, config.service.country
        self._replaces = set(replaces)
        self._script = script
        self._kept, self._declined, self._failed = kept, declined, failed
        self._inbox: queue.SimpleQueue[Report | _Sound] = queue.SimpleQueue()
        self._calls: dict[int, _EnrolCall] = {}

    def post(self, report: Report) -> None:
        """Take what the engine reports; any thread."""
        self._inbox.put(report)

    def hear(self, leg: int, samples: Samples, at: float) -> None:
        """Take (n,) int16 of a leg, on the engine's thread; `at` (monotonic s) is not needed."""
        self._inbox.put(_Sound(leg, samples))

    def run(self, engine: Engine, stop: Callable[[], bool]) -> None:
        """Take calls until `stop()`; who is in the middle of it then is hung up, and nothing of it kept."""
        while not stop():
            self.turn(engine)
        for leg in list(self._calls):
            self._handle(engine, leg, f.Broken())
        until = time.monotonic() + LAST_S
        while self._calls and time.monotonic() < until:
            self.turn(engine)

    def turn(self, engine: Engine) -> None:
        """Let the engine work for a moment, and do what follows."""
        engine.poll(POLL_S)
        while not self._inbox.empty():
            self._take(engine, self._inbox.get())
        now = time.monotonic()
        for leg, call in list(self._calls.items()):
            if call.flow.deadline is not None and call.flow.deadline <= now:
                self._handle(engine, leg, f.DeadlinePassed())
            if not engine.has(leg):
                self._handle(engine, leg, f.Gone())
                self._calls.pop(leg, None)

    def _take(self, engine: Engine, report: Report | _Sound) -> None:
        match report:
            case Incoming():
                self._invited(engine, report)
            case SoundOver(leg, token, waited_s):
                call = self._calls.get(leg)
                if call and call.token == token:
                    played_ms = (time.monotonic() - call.began - waited_s) * 1000
                    whole = played_ms >= self._script.sounds[call.prompt].duration_ms - SHORT_MS
                    self._handle(engine, leg, f.LastSoundEnded(whole))
            case _Sound(leg, samples):
                self._heard(engine, leg, samples)
            case OfLeg(leg, fact):
                if meant := _meaning(fact):
                    self._handle(engine, leg, meant)
                if isinstance(fact, e.LegGone):
                    self._calls.pop(leg, None)
            case EngineFault(reason):
                self._failed(reason)
            case _:
                pass  # no account, no operators, and a leg that fails ends

    def _invited(self, engine: Engine, report: Incoming) -> None:
        number = caller_number(report.message, self._country) or ""
        name = self._table.colleagues.get(number)
        offer = f.InviteArrived(
            known=called_number(report.message, self._country) == self._table.extension,
            listed=name is not None,
            fresh=name is None or self._may_keep(name),
            free=all(call.flow.phase is f.EnrolPhase.OVER for call in self._calls.values()),
        )
        who = Colleague(name or "", number, self._script.language)
        self._calls[report.leg] = _EnrolCall(f.EnrolFlow(self._script.steps), who)
        self._handle(engine, report.leg, offer)
        if name is not None and offer.refused_with == f.DECLINE:
            self._declined(name)

    def _may_keep(self, name: str) -> bool:
        return folder_name(name) in self._replaces or not is_kept(self._table.folder, name)

    def _heard(self, engine: Engine, leg: int, samples: Samples) -> None:
        call = self._calls.get(leg)
        if call is None:
            return
        for heard in call.tones.feed(samples):
            if isinstance(heard, ToneHeard):
                self._handle(engine, leg, f.KeyPressed(heard.digit))
        if call.ear and call.flow.phase is f.EnrolPhase.HEARING and call.ear.feed(samples):
            self._handle(engine, leg, f.SayingHeard(call.ear.fault()))

    def _handle(self, engine: Engine, leg: int, fact: f.EnrolFact) -> None:
        if call := self._calls.get(leg):
            for command in call.flow.handle(fact, time.monotonic()):
                self._carry_out(engine, leg, call, command)

    def _carry_out(self, engine: Engine, leg: int, call: _EnrolCall, command: f.EnrolCommand) -> None:
        match command:
            case f.RejectInvite(status):
                engine.reject(leg, status, None)
            case f.AcceptInvite():
                engine.answer(leg)
                engine.listen(leg)
            case f.PlayPrompt(prompt):
                call.prompt, call.began = prompt, time.monotonic()
                call.token = engine.play(leg, self._script.sounds[prompt].path, loop=False)
            case f.NoteConsent():
                call.consented_at = datetime.now(UTC)
            case f.HearSaying(step):
                call.ear = SayingEar(step.text)
            case f.Take(step):
                assert call.ear
                call.taken.append(TakenSaying(step, call.ear.sound()))
            case f.Keep():
                self._handle(engine, leg, self._keep(call))
            case f.ForgetSayings():
                call.taken.clear()
                call.ear = None
            case f.EndCall():
                engine.hang_up(leg)

    def _keep(self, call: _EnrolCall) -> f.EnrolFact:
        assert call.consented_at, "the flow orders to keep what was consented to"
        voice = folder_name(call.who.name)
        try:
            person = keep(
                self._table.folder,
                call.who,
                call.consented_at,
                self._table.keep_days,
                call.taken,
                replaces=voice in self._replaces,
            )
        except OSError as fault:
            self._failed(Reason("{0}: {1}", fault.filename, strerror(fault)))
            return f.SayingsNotKept()
        self._replaces.discard(voice)
        self._kept(person)
        return f.SayingsKept()


def _meaning(fact: e.Fact) -> f.EnrolFact | None:
    match fact:
        case e.CallConfirmed():
            return f.Confirmed()
        case e.DtmfPressed(_, digit):
            return f.KeyPressed(digit)
        case e.MediaFoundElsewhere():
            return f.Unheard()
        case e.LegHeld() | e.MediaLost():
            return f.Broken()
        case e.LegGone():
            return f.Gone()
        case _:
            return None


# --- who may call, and by which way ---

RTP_PORTS = 16  # of the end of trunk.rtp_ports: the service takes them from the beginning
WORKER_PORTS = BEFORE_WORKERS + 1  # of the end of edge.worker_ports, for the same reason
CALLS = 2  # one is taken, the other one is told that it is busy
INVITES_PER_S = 6


def callers(config: Config) -> tuple[Addresses, tuple[str, ...]]:
    """Who may call: of the operators' addresses those that are not the trunk's, or all where none is left.

    Then what is to be said of it, too. Raises ConfigError: no address is known.
    """
    assert config.enrol
    ours = addresses(config, ()).operators
    if not ours:
        problem = Reason("no host of these can be looked up")
        raise ConfigError(config.file, "operators.extensions", problem, "a host that resolves")
    trunk = allowed_sources(config)
    apart = tuple(one for one in ours if not any(one.overlaps(source) for source in trunk))
    chosen, number = apart or ours, config.enrol.extension
    same = () if apart else ours
    said = (
        Reason(
            "{0} is the trunk's, too: see to it that no call from outside reaches {1}",
            one.network_address,
            number,
        )
        for one in same
    )
    own = addresses(config, chosen).own
    return Addresses(own, chosen, chosen), tuple(said)


def plan(config: Config, port: int, found: Addresses) -> Plan:
    """Plan the Kamailio in front, on UDP and TCP port `port`. Raises ConfigError: there are too few ports."""
    trunk, ports = config.trunk, config.edge.worker_ports
    if len(ports) < WORKER_PORTS:
        raise ConfigError(
            config.file,
            "edge.worker_ports",
            Reason("'{0}' holds {1}", ports, counted(len(ports), "port")),
            Reason("{0} or more at its end that the service does not use", WORKER_PORTS),
        )
    return Plan(
        workers=1,
        calls=CALLS,
        calls_per_worker=CALLS,
        invites_per_s=INVITES_PER_S,
        first_port=ports.last + 1 - WORKER_PORTS,
        last_port=ports.last,
        listen=HostPort(trunk.listen.host, port),
        advertised=trunk.public_address or found.own,
        transport="udp",
        tls=None,
        addresses=found,
        registrar="",
        user="",
        full_status=486,
    )


def engine_settings(
    config: Config, enrolments: Enrolments, port: int, found: Addresses, front: EdgeProcess | None = None
) -> EngineSettings:
    """An engine of its own, beside the service's; behind that Kamailio SIP comes from nobody else."""
    assert config.enrol
    trunk = config.trunk
    host = found.own if trunk.listen.is_any else trunk.listen.host
    last = trunk.rtp_ports.last
    alone = EngineSettings(
        report=enrolments.post,
        audio=enrolments.hear,
        listen=(trunk.listen.host, port),
        uri=f"sip:{config.enrol.extension}@{HostPort(host, port)}",
        public_address=trunk.public_address or "",
        rtp_ports=(max(trunk.rtp_ports.first, last + 1 - RTP_PORTS), last),
        calls=1,
        codecs=trunk.codecs,
        srtp=config.operators_srtp,
        callers=found.trunk,
    )
    if front is None:
        return alone
    tokens = kept_tokens(places(front.directory))
    return replace(
        alone,
        listen=front.plan.worker(0),
        **media_addresses(config, found)._asdict(),
        outbound_proxies=(front.plan.proxy,),
        hop_token=tokens.from_edge,
        way_out_token=tokens.to_edge,
        sip_peer=front.plan.inner,
    )
