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
from gettext import gettext as _
from pathlib import Path
from typing import Any

import soundfile
from rich.console import Console

import prompts
from sipagent.languages.labels import Kind, label
from sipagent.softphone.phone import Answering, Call, Loop, Phone, PhoneError
from sipagent.softphone.rtp import SteadyTone, strongest

CALLER_HZ, OPERATOR_HZ = 440.0, 880.0
WINDOW_S = 2.0
TALK_S = 4.0
READY_S = 20.0
ENDED_S = 20.0
RTP_PORTS = 100
PROMPTS = Path(prompts.__file__).parent
CONFIG = Path(__file__).with_suffix(".toml")
Json = dict[str, Any]
CODED: dict[str, Kind] = {"decision": "decision", "by": "by", "outcome": "outcome"}  # facts of the log


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
            said = _("the agent is not ready: {words}")
            raise DemoFailed(said.format(words=self._last_words or _("it says nothing")))

    def wait_call_ended(self) -> None:
        """Its last line is told: nothing of it comes below what is shown next."""
        if not self._ended.acquire(timeout=ENDED_S):
            said = _("a call that was hung up has not ended: {words}")
            raise DemoFailed(said.format(words=self._last_words))

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
        title = _("The demo has failed:")
        console.print(f"[bold red]{title}[/] {failure}", highlight=False)
        return 1
    well = _("Both calls went as they must.")
    console.print(f"\n[bold green]{well}[/]")
    return 0


def _demo(folder: Path, loop: Loop, console: Console, language: str) -> None:
    with Phone(loop, "201") as operator, Phone(loop, "+33612345678") as caller, Phone(loop, "0") as spare:
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
            console.rule(_("What is kept: sipagent list"))
            agent.show("list")
            console.rule(_("What every call leaves: sipagent calls"))
            agent.show("calls")
            _judge(agent, folder)
        finally:
            code = agent.stop()
        if code:
            raise DemoFailed(_("the agent ended with {code}").format(code=code))


def _consenting(stage: DemoStage) -> None:
    console = stage.console
    console.rule(_("A caller who hears the notice and says nothing against it"))
    with _talking(stage, None, "REC "):
        said = _("both talk for {seconds} s, and the tap runs").format(seconds=f"{TALK_S:g}")
        console.print(f"  {said}")


def _refusing(stage: DemoStage) -> None:
    console = stage.console
    console.rule(_("A caller who presses 9 during the notice"))
    with _talking(stage, "9", "NO REC "):
        said = _("both talk for {seconds} s, and nothing is recorded").format(seconds=f"{TALK_S:g}")
        console.print(f"  {said}")


@contextmanager
def _talking(stage: DemoStage, key: str | None, shown: str) -> Iterator[None]:
    console = stage.console
    call = stage.caller.call(stage.uri)
    call.wait_answered()
    answers = _("the agent answers and plays the notice")
    console.print(f"  {answers}")
    if key:
        _hear(call, 3.0)
        pressed = _("the caller presses {key}").format(key=key)
        console.print(f"  {pressed}")
        call.press(key)
    answered = stage.operator.wait_call(60)
    name = answered.incoming.header("From") if answered.incoming else ""
    rings = _("the operator's phone rings and shows {name}").format(name=name.partition("<")[0].strip())
    console.print(f"  {rings}", markup=False)
    if not name.strip('"').startswith(shown):
        said = _("the operator's phone shows {name}, not {other}")
        raise DemoFailed(said.format(name=name, other=shown))
    call.rtp.wait_tone(OPERATOR_HZ, 30)
    call.rtp.play(SteadyTone(CALLER_HZ))  # not before: it would be listened to as speech
    answered.rtp.wait_tone(CALLER_HZ, 30)
    yield
    _hear(call, TALK_S)
    call.hang_up()
    answered.wait_ended()
    ends = _("the caller hangs up")
    console.print(f"  {ends}")


def _hear(call: Call, seconds: float) -> None:
    frames = call.rtp.sent_frames + round(seconds / 0.02)
    call.loop.wait_for(lambda: call.rtp.sent_frames >= frames, seconds + 10, f"{seconds:g} s of sound")


def _judge(agent: AgentProcess, folder: Path) -> None:
    """The proof is in the rows and in the sound, not in what was told on the way."""
    first, second = sorted(agent.rows("calls"), key=lambda row: row["started_at"])
    if (first["decision"], second["decision"]) != ("allowed", "refused"):
        said = _("the decisions are {first} and {second}")
        raise DemoFailed(said.format(first=first["decision"], second=second["decision"]))
    kept = [row for row in agent.rows("list") if row["status"] == "closed"]
    if [row["id"] for row in kept] != [first["recording_id"]]:
        said = _("{n} recordings are kept, and not just the first call's")
        raise DemoFailed(said.format(n=len(kept)))
    sound, rate = soundfile.read(folder / kept[0]["path"], dtype="int16", always_2d=True)
    middle = sound[rate : 3 * rate]
    for channel, (name, hz) in enumerate((("left", CALLER_HZ), ("right", OPERATOR_HZ))):
        found = strongest(middle[:, channel])
        if found is None or abs(found - hz) > 20:
            said = _("on the {name} channel there is {found} Hz, not {hz}")
            raise DemoFailed(said.format(name=name, found=found, hz=f"{hz:g}"))
    files = sorted(path.name for path in (folder / "recordings").iterdir())
    if len(files) != 2:
        said = _("more lies on the disk than one recording and its metadata: {files}")
        raise DemoFailed(said.format(files=files))


def _tell(console: Console, said: Json) -> None:
    """The agent's log, as far as a spectator cares."""
    event = said["event"]
    if event in ("decided", "alert", "call_ended"):
        facts = ", ".join(
            f"{label('log', key)} {label(CODED[key], value) if key in CODED else value}"
            for key, value in said.items()
            if key not in ("event", "call", "level", "timestamp")
        )
        line = _("agent: {event}: {facts}").format(event=label("log", event), facts=facts)
        console.print(f"  [dim]{line}[/]", highlight=False)


def _config(port: int, operator: str, language: str) -> str:
    names = ("notice", "details", "welcome", "refused", "confirm", "closed", "unavailable", "please_hold")
    files = {name: PROMPTS / language / f"{name}.wav" for name in names}
    files["hold_music"] = PROMPTS / "hold.wav"
    rtp = 10000 + port % 20000 // 2 * 2  # at least 10000 away from `port`, whatever it is
    return CONFIG.read_text(encoding="utf-8").format(
        language=language,
        port=port,
        rtp=rtp,
        last_rtp=rtp + RTP_PORTS - 1,
        prompts="\n".join(f"{name} = {json.dumps(str(path))}" for name, path in files.items()),
        window_s=WINDOW_S,
        operator=operator,
    )
