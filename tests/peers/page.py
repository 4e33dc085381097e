"""What a page of docs/ prints, on the addresses that it prints, in a network of its own.

    unshare --map-root-user --net --mount python -m tests.peers.page docs/en/trunk-ovh.md DIRECTORY

takes the page's configuration to the letter and starts what stands on the other side of it: Kamailio as the
trunk's operator, or Asterisk; baresip as an operator's phone. One caller is recorded, another refuses. It
prints what was kept, what the phone showed and what was logged. Where there is nft, the firewall of
docs/en/firewall.md stands before it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import soundfile

from sipagent.softphone.phone import Loop, Phone, PhoneError
from sipagent.softphone.rtp import RATE, SteadyTone, tone
from tests.live import calls
from tests.peers.agent import RunningAgent
from tests.peers.baresip import Baresip
from tests.peers.kamailio import Kamailio
from tests.peers.process import Child, PeerError, wait_answer

OURS, PBX, PHONE, TRUNK, CALLER = "192.168.10.5", "192.168.10.2", "192.168.10.41", "192.0.2.10", "192.0.2.77"
NAMES = {"trunk.example.net": TRUNK, "siptrunk.ovh.net": TRUNK}
FIREWALL = Path(__file__).parents[2] / "docs/en/firewall.md"
ASTERISK = Path(os.environ.get("ASTERISK", "/usr/sbin/asterisk"))
READY_S, TALK_S = 60, 1.0
Tables = dict[str, dict[str, Any]]


def blocks(page: Path, kind: str) -> list[str]:
    """What is fenced in it as this kind of text."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def configuration(page: Path) -> Tables:
    """All that the page would have one write into config.toml."""
    merged: Tables = {}
    for block in blocks(page, "toml"):
        for table, keys in tomllib.loads(block).items():
            merged.setdefault(table, {}).update(keys)
    return merged


def files(page: Path) -> dict[str, str]:
    """The PBX's files that it shows, by the name in their first line."""
    told: dict[str, str] = {}
    for block in blocks(page, "ini"):
        named, _, text = block.partition("\n")
        name = Path(named.removeprefix("; ")).name
        told[name] = told.get(name, "") + text
    return told


@contextmanager
def network(directory: Path, others: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Have a network of two machines: this one has the addresses of all others, and a DNS; give the command
    that runs another one on ours.

    Whatever sends from no address in particular sends from the first of `others`.
    """
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    try:
        net = Path(f"/proc/{holder.pid}/ns/net")
        while net.stat().st_ino == Path("/proc/self/ns/net").stat().st_ino:
            os.sched_yield()  # it has not left ours yet
        on_ours = ("nsenter", f"--net={net}")
        run("ip", "link", "add", "others", "type", "veth", "peer", "name", "ours", "netns", str(holder.pid))
        for command, end, addresses, far in ((), "others", others, [OURS]), (on_ours, "ours", [OURS], others):
            for address in addresses:
                run(*command, "ip", "address", "add", f"{address}/32", "dev", end)
            for link in ("lo", end):
                run(*command, "ip", "link", "set", link, "up")
            for address in far:
                run(*command, "ip", "route", "add", address, "dev", end, "src", addresses[0])
        resolver = directory / "resolv.conf"
        resolver.write_text(f"nameserver {TRUNK}\n")
        run("mount", "--bind", str(resolver), "/etc/resolv.conf")
        asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asked.bind((TRUNK, 53))
        threading.Thread(target=answer_names, args=(asked,), daemon=True).start()
        yield on_ours
    finally:
        holder.kill()
        holder.wait()


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def answer_names(asked: socket.socket) -> None:
    """Be the DNS (RFC 1035, 4.1): an address where it is asked for one of a name that is known."""
    while True:
        query, asker = asked.recvfrom(512)
        end = query.index(b"\0", 12) + 5
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        address = NAMES.get(".".join(labels).lower())
        found = address is not None and query[end - 4 : end] == b"\0\1\0\1"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(address or "0.0.0.0")
        flags, count = (b"\x81\x80", b"\0\1") if found else (b"\x81\x80" if address else b"\x81\x83", b"\0\0")
        head = query[:2] + flags + b"\0\1" + count + b"\0\0\0\0"
        asked.sendto(head + query[12:end] + (answer if found else b""), asker)


@contextmanager
def asterisk(directory: Path, shown: dict[str, str]) -> Iterator[Child]:
    """The PBX, with what the page shows, a trunk and two phones."""
    folder = directory / "asterisk"
    folder.mkdir()
    endpoints = "".join(
        f"[{name}]\ntype=endpoint\ncontext={context}\ndisallow=all\nallow=alaw\ndirect_media=no\naors={name}\n"
        f"[{name}]\ntype=aor\ncontact=sip:{name}@{ip}:5060\n[{name}]\ntype=identify\nendpoint={name}\nmatch={ip}\n"
        for name, context, ip in (
            ("carrier", "from-carrier", CALLER),
            ("201", "from-phones", PHONE),
        )
    )
    root = ASTERISK.parent.parent
    modules = root / "lib/asterisk/modules"
    ours = {
        "asterisk.conf": "[directories]\n"
        + "".join(
            f"ast{name}dir => {folder}\n" for name in ("etc", "db", "key", "spool", "run", "log", "agi")
        )
        + f"astmoddir => {modules}\nastvarlibdir => {folder}\nastdatadir => {folder}\n",
        "modules.conf": "[modules]\nautoload=yes\n",
        "logger.conf": "[logfiles]\nconsole => notice,warning,error,verbose\n",
        "rtp.conf": "[general]\nrtpstart=20000\nrtpend=20199\n",
        "extensions.conf": shown["extensions.conf"],
        "pjsip.conf": shown["pjsip.conf"] + endpoints,
    }
    for name, text in ours.items():
        (folder / name).write_text(text)
    child = Child([ASTERISK, "-f", "-vvv", "-C", folder / "asterisk.conf"], folder)
    try:
        wait_answer((PBX, 5060))
        yield child
    except PeerError as error:
        raise PeerError(f"{error}\nAsterisk said:\n{child.tail()}") from error
    finally:
        child.stop()


@contextmanager
def other_side(page: Path, directory: Path, tables: Tables) -> Iterator[tuple[str, Callable[[], object]]]:
    """Start what the page is about; give the URI that callers dial, and what waits until it knows of us."""
    trunk = tables["trunk"]
    number = trunk["numbers"][0]
    national = "0" + number.removeprefix("+33")
    if shown := files(page):
        with asterisk(directory, shown) as pbx:
            reached = f"{OURS}:5060 is now Reachable"
            yield (
                f"sip:{national}@{PBX}:5060",
                lambda: pbx.wait_line(lambda said: reached in said, 30, reached),
            )
        return
    kamailio = Kamailio(directory, host=TRUNK, port=5060, username=trunk.get("username", "nobody"))
    if "registrar" not in trunk:
        kamailio.phones[national] = (OURS, 5060)
    kamailio.start()
    try:
        yield f"sip:{national}@{TRUNK}:5060", lambda: None
    finally:
        kamailio.stop()


def tried(page: Path, directory: Path) -> dict[str, Any]:
    """Two calls as the page has it."""
    tables = configuration(page)
    tables["trunk"].setdefault("rtp_ports", "10000-10999")
    if "password_file" in tables["trunk"]:
        secret = directory / "agent" / tables["trunk"]["password_file"]
        secret.parent.mkdir(parents=True)
        secret.touch(mode=0o600)
        secret.write_text("right\n")
    sound = directory / "operator.wav"
    soundfile.write(sound, tone(calls.OPERATOR_HZ, 30.0), RATE, subtype="PCM_16")
    senders = (PBX, PHONE) if files(page) else (PHONE, PBX)
    with ExitStack() as stack:
        on_ours = stack.enter_context(network(directory, (*senders, TRUNK, CALLER)))
        desk = Baresip(directory, sound, "201", host=PHONE, port=5060, auto_answer=True)
        stack.callback(desk.stop)
        uri, wait_known = stack.enter_context(other_side(page, directory, tables))
        if shutil.which("nft"):
            (rules,) = blocks(FIREWALL, "nft")
            run(*on_ours, "nft", rules)
        agent = RunningAgent(directory / "agent", tables)
        agent.program = (*on_ours, *agent.program)
        agent.start(wait=None)
        stack.callback(agent.close)
        agent.wait_for("ready", READY_S)
        wait_known()
        caller = stack.enter_context(Phone(stack.enter_context(Loop()), "0612345678", CALLER, 5060))
        caller.sound = lambda: SteadyTone(calls.CALLER_HZ)
        for key in ("", "9"):
            call = caller.call(uri)
            call.wait_answered(20)
            if key:
                call.press(key)
            try:
                call.rtp.wait_tone(calls.OPERATOR_HZ, 30)
            except PhoneError as error:
                said = f"the agent:\n{agent.child.tail()}\nthe phone:\n{desk.child.tail()}"
                raise PeerError(f"{error}; {said}") from error
            calls.talk(call, TALK_S)
            call.hang_up()
            call.wait_ended()
        receipts, recordings = agent.wait_receipts(2), agent.wait_settled()
        return {
            "calls": [[r["caller"], r["outcome"], r["decision"], r["decided_by"]] for r in receipts],
            "kept": [row["status"] for row in recordings],
            "shown": [e["peerdisplayname"] for e in desk.events if e.get("type") == "CALL_ESTABLISHED"],
            "logged": sorted({e["event"] for e in agent.log_events}),
            "numbers": sum("612345678" in line for _, line in agent.child.lines),
        }


if __name__ == "__main__":
    print(json.dumps(tried(Path(sys.argv[1]), Path(sys.argv[2]))))
