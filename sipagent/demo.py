"""`sipagent demo`: two calls through a real agent on this machine, without trunk or phones.

A scripted caller and a scripted operator (`softphone`) call over loopback through `sipagent run` in a process
of its own, with the shipped notice: once the caller lets it pass, once the caller presses 9. What happens is
told as it happens; at the end stand the same tables that an administrator sees.
"""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from rich.console import Console

import prompts
from sipagent.softphone.phone import Answering, Call, Loop, Phone, PhoneError
from sipagent.softphone.rtp import SteadyTone, strongest

CALLER_HZ, OPERATOR_HZ = 440.0, 880.0
WINDOW_S = 2.0
TALK_S = 4.0
READY_S = 20.0
ENDED_S = 20.0
RTP_PORTS = 100
PROMPTS = Path(prompts.__file__).parent
CONFIG = """\
[service]
name = "Agglo J'écoute"
controller = "demo"
language = "{language}"

[trunk]
uri = "sip:agent@127.0.0.1:{port}"
listen = "127.0.0.1:{port}"
rtp_ports = "{rtp}-{last_rtp}"
allowed_sources = ["127.0.0.1/32"]
codecs = ["PCMA"]

[prompts]
{prompts}

[refusal]
window_s = {window_s}

[operators]
extensions = ["{operator}"]

[recording]
justification = "a demonstration"
"""

Json = dict[str, Any]


class DemoFailed(Exception):
    """Something did not go as it must; `str()` says what."""


@dataclass(frozen=True, slots=True)
class DemoStage:
    """Who plays, and where the agent is called."""

    console: Console
    caller: Phone
    operator: Phone
    uri: str


class AgentProcess:
    """`sipagent run` in a process of its own, its log told line by line."""

    def __init__(self, config: Path, tell: Callable[[Json], None]) -> None:
        self.config = config
        # -P: nothing of the current folder, which `-m` would look into first
        command = [sys.executable, "-P", "-m", "sipagent", "--config", str(config)]
        self._command = command
        self._process = subprocess.Popen(
            [*command, "run", "--log-json", "--drain-s", "5"], stderr=subprocess.PIPE, text=True
        )
        self._tell = tell
        self._ready = False
        self._settled = threading.Event()  # it is ready, or has ended
        self._ended = threading.Semaphore(0)  # one for each call
        self._last_words = ""
        self._reader = threading.Thread(target=self._read, name="demo-log", daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        if not self._settled.wait(READY_S) or not self._ready:
            raise DemoFailed(f"the agent is not ready: {self._last_words or 'it says nothing'}")

    def wait_call_ended(self) -> None:
        """Its last line is told: nothing of it comes below what is shown next."""
        if not self._ended.acquire(timeout=ENDED_S):
            raise DemoFailed(f"a call that was hung up has not ended: {self._last_words}")

    def rows(self, command: str) -> list[Json]:
        done = subprocess.run([*self._command, command, "--json"], capture_output=True, text=True, check=True)
        rows: list[Json] = json.loads(done.stdout)
        return rows

    def show(self, command: str) -> None:
        """Let a command print its table here."""
        subprocess.run([*self._command, command], check=True)

    def stop(self) -> int:
        self._process.terminate()
        code = self._process.wait(30)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self._last_words = line.strip()
            if line.startswith("{"):
                said = json.loads(line)
                if said["event"] == "ready":
                    self._ready = True
                    self._settled.set()
                self._tell(said)
                if said["event"] == "call_ended":
                    self._ended.release()
        self._settled.set()


def run(console: Console | None = None, language: str = "fr") -> int:
    """Show both kinds of call; 0 only if both went as they must."""
    console = console or Console()
    try:
        with tempfile.TemporaryDirectory(prefix="sipagent-demo-") as folder, Loop() as loop:
            _demo(Path(folder), loop, console, language)
    except (DemoFailed, PhoneError, subprocess.SubprocessError, OSError) as failure:
        console.print(f"[bold red]The demo has failed:[/] {failure}", highlight=False)
        return 1
    console.print("\n[bold green]Both calls went as they must.[/]")
    return 0


def _demo(folder: Path, loop: Loop, console: Console, language: str) -> None:
    with Phone(loop, "201") as operator, Phone(loop, "+33612345678") as caller, Phone(loop, "0") as spare:
        caller.sound = lambda: SteadyTone(CALLER_HZ)
        operator.sound = lambda: SteadyTone(OPERATOR_HZ)
        operator.answer = Answering(after_s=1.0)
        port = spare.address[1]
        spare.close()
        config = folder / "config.toml"
        config.write_text(_config(port, operator.uri, language), encoding="utf-8")
        agent = AgentProcess(config, lambda said: _tell(console, said))
        try:
            agent.wait_ready()
            stage = DemoStage(console, caller, operator, f"sip:0323063006@127.0.0.1:{port}")
            for scene in (_consenting, _refusing):
                scene(stage)
                agent.wait_call_ended()
            console.rule("What is kept: sipagent list")
            agent.show("list")
            console.rule("What every call leaves: sipagent calls")
            agent.show("calls")
            _judge(agent, folder)
        finally:
            code = agent.stop()
        if code:
            raise DemoFailed(f"the agent ended with {code}")


def _consenting(stage: DemoStage) -> None:
    console = stage.console
    console.rule("A caller who hears the notice and says nothing against it")
    with _talking(stage, None, "REC "):
        console.print(f"  both talk for {TALK_S:g} s, and the tap runs")


def _refusing(stage: DemoStage) -> None:
    console = stage.console
    console.rule("A caller who presses 9 during the notice")
    with _talking(stage, "9", "NO REC "):
        console.print(f"  both talk for {TALK_S:g} s, and nothing is recorded")


@contextmanager
def _talking(stage: DemoStage, key: str | None, shown: str) -> Iterator[None]:
    console = stage.console
    call = stage.caller.call(stage.uri)
    call.wait_answered()
    console.print("  the agent answers and plays the notice")
    if key:
        _hear(call, 3.0)
        console.print(f"  the caller presses {key}")
        call.press(key)
    answered = stage.operator.wait_call(60)
    name = answered.incoming.header("From") if answered.incoming else ""
    console.print(f"  the operator's phone rings and shows {name.partition('<')[0].strip()}", markup=False)
    if not name.strip('"').startswith(shown):
        raise DemoFailed(f"the operator's phone shows {name}, not {shown}")
    call.rtp.wait_tone(OPERATOR_HZ, 30)
    answered.rtp.wait_tone(CALLER_HZ, 30)
    yield
    _hear(call, TALK_S)
    call.hang_up()
    answered.wait_ended()
    console.print("  the caller hangs up")


def _hear(call: Call, seconds: float) -> None:
    frames = call.rtp.sent_frames + round(seconds / 0.02)
    call.loop.wait_for(lambda: call.rtp.sent_frames >= frames, seconds + 10, f"{seconds:g} s of sound")


def _judge(agent: AgentProcess, folder: Path) -> None:
    """The proof is in the rows and in the sound, not in what was told on the way."""
    first, second = sorted(agent.rows("calls"), key=lambda row: row["started_at"])
    if (first["decision"], second["decision"]) != ("allowed", "refused"):
        raise DemoFailed(f"the decisions are {first['decision']} and {second['decision']}")
    kept = [row for row in agent.rows("list") if row["status"] == "closed"]
    if [row["id"] for row in kept] != [first["recording_id"]]:
        raise DemoFailed(f"{len(kept)} recordings are kept, and not just the first call's")
    sound, rate = soundfile.read(folder / kept[0]["path"], dtype="int16", always_2d=True)
    middle = sound[rate : 3 * rate]
    for channel, (name, hz) in enumerate((("left", CALLER_HZ), ("right", OPERATOR_HZ))):
        found = strongest(middle[:, channel])
        if found is None or abs(found - hz) > 20:
            raise DemoFailed(f"on the {name} channel there is {found} Hz, not {hz:g}")
    files = sorted(path.name for path in (folder / "recordings").iterdir())
    if len(files) != 2:
        raise DemoFailed(f"more lies on the disk than one recording and its metadata: {files}")


def _tell(console: Console, said: Json) -> None:
    """The agent's log, as far as a spectator cares."""
    event = said["event"]
    if event in ("decided", "alert", "call_ended"):
        facts = ", ".join(
            f"{key} {value}"
            for key, value in said.items()
            if key not in ("event", "call", "level", "timestamp")
        )
        console.print(f"  [dim]agent: {event}: {facts}[/]", highlight=False)


def _config(port: int, operator: str, language: str) -> str:
    names = ("notice", "welcome", "refused", "confirm", "closed", "unavailable", "please_hold")
    files = {name: PROMPTS / language / f"{name}.wav" for name in names}
    files["hold_music"] = PROMPTS / "hold.wav"
    rtp = 10000 + port % 20000 // 2 * 2  # at least 10000 away from `port`, whatever it is
    return CONFIG.format(
        language=language,
        port=port,
        rtp=rtp,
        last_rtp=rtp + RTP_PORTS - 1,
        prompts="\n".join(f"{name} = {json.dumps(str(path))}" for name, path in files.items()),
        window_s=WINDOW_S,
        operator=operator,
    )
