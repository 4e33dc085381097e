"""docs/en/first-call.md as its reader follows it, on the addresses that it prints, in a network of its own.

    unshare --map-root-user --net --mount python -m tests.peers.first_call DIRECTORY

Instead of a sound card the softphones have a file. Prints what was kept, and what listening to it and
deleting it said.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM
from typing import Any

import soundfile

from sipagent.softphone.rtp import RATE, tone
from tests.live import calls
from tests.peers.agent import SEARCH_PATH
from tests.peers.page import CALLER, PBX, PHONE, READY_S, TRUNK, blocks, network
from tests.peers.process import Child, PeerError

PAGE = Path(__file__).parents[2] / "docs/en/first-call.md"
PROGRAM = (sys.executable, "-m", "sipagent")
NUMBER = "sip:0323063006@192.168.10.5"
FOUND = {**os.environ, "PYTHONPATH": SEARCH_PATH, "COLUMNS": "200"}


class Reader:
    """Somebody who does what the page says, in a folder in place of /etc/sipagent."""

    def __init__(self, directory: Path, on_ours: tuple[str, ...]) -> None:
        self.directory, self.on_ours = directory, on_ours
        self.folder = directory / "etc"

    def command(self, words: list[str]) -> tuple[str, ...]:
        """One of ours, as root on our machine."""
        places = {"/etc/sipagent": str(self.folder), "/media/usb": str(self.folder / "keys")}
        for printed, here in places.items():
            words = [word.replace(printed, here) for word in words]
        config = ["--config", str(self.folder / "config.toml")] if words[0] != "init" else []
        return (*self.on_ours, *PROGRAM, *config, *words)

    def errors(self) -> list[str]:
        """What `check` calls an error."""
        findings = json.loads(self.run("check", "--json", code=1))
        return [one["what"] for one in findings if one["level"] == "error"]

    def run(self, *words: str, code: int = 0) -> str:
        """What it says. Raises PeerError."""
        done = subprocess.run(
            self.command([*words]), cwd=self.directory, env=FOUND, capture_output=True, text=True, check=False
        )
        if done.returncode != code:
            raise PeerError(f"{words}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


def printed(name: str) -> list[list[str]]:
    """The page's command lines of this name, without what stands before `sipagent`."""
    lines = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]
    found = [re.sub(r"^sudo (-u sipagent )?", "", line) for line in lines]
    return [shlex.split(line)[1:] for line in found if line.startswith(f"sipagent {name}")]


def softphones(directory: Path) -> None:
    """Make their folders as the page does; without a sound card."""
    (script,) = (block for block in blocks(PAGE, "sh") if "operator/config" in block)
    subprocess.run(["sh", "-e", "-c", script], cwd=directory, check=True)
    sound = directory / "speech.wav"
    soundfile.write(sound, tone(calls.OPERATOR_HZ, 120.0), RATE, subtype="PCM_16")
    for name in ("operator", "caller"):
        config = directory / name / "config"
        config.write_text(
            config.read_text()
            .replace("audio_source alsa,default", f"audio_source aufile,{sound}")
            .replace("alsa,default", f"aubridge,{name}")
            .replace("module alsa.so", "module aufile.so\nmodule aubridge.so")
        )


def followed(directory: Path) -> dict[str, Any]:
    """From `init` to the deletion."""
    (answers,) = blocks(PAGE, "toml")
    (directory / "answers.toml").write_text(answers)
    softphones(directory)
    with ExitStack() as stack:
        reader = Reader(directory, stack.enter_context(network(directory, (PHONE, PBX, TRUNK, CALLER))))
        init, _ = printed("init")
        reader.run(*init)
        wrong = reader.errors()
        agent = Child(reader.command(["run", "--log-json"]), directory, env=FOUND)
        stack.callback(agent.stop)
        agent.wait_line(lambda line: '"ready"' in line, READY_S, "ready")
        operator = Child(["/usr/bin/baresip", "-f", directory / "operator"], directory)
        stack.callback(operator.stop)
        caller = Child(["/usr/bin/baresip", "-f", directory / "caller", "-e", f"/dial {NUMBER}"], directory)
        stack.callback(caller.stop)
        agent.wait_line(lambda line: '"decided"' in line, 60, "the end of the notice")
        operator.wait_line(lambda line: "Call established" in line, 30, "a call that is answered")
        # For 3 s the caller's sound, which never pauses, may be what was said before the bridge.
        operator.wait_line(lambda line: "[0:00:06]" in line, 30, "six seconds of talk")
        caller.signal(SIGTERM)
        agent.wait_line(lambda line: '"call_ended"' in line, 30, "the end of the call")
        (row,) = json.loads(reader.run("list", "--json"))
        reference = row["id"].rpartition("-")[2]
        said = {}
        for name in ("list", "calls", "export", "accesses", "delete"):
            (words,) = printed(name)
            said[name] = reader.run(*(word.replace("482913", reference) for word in words))
        copy, _ = soundfile.read(directory / "call.wav")
        return {
            "wrong": wrong,
            "row": row,
            "said": said,
            "seconds": len(copy) / RATE,
            "certificate": (directory / "trial.md").exists(),
            "left": json.loads(reader.run("list", "--json", "--status", "closed")),
        }


if __name__ == "__main__":
    print(json.dumps(followed(Path(sys.argv[1]))))
