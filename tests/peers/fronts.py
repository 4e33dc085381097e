"""What stands in front of two hosts, as deploy/cluster/ has it, on the addresses that are written there.

    python -m tests.peers.fronts srv|dispatcher|address DIRECTORY

Needs namespaces of its own (`seen` makes them). Prints what was seen, one JSON object.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT
from typing import Any

from sipagent.softphone.phone import Call, Loop
from tests.loopback import ROOT
from tests.peers.agent import NUMBER
from tests.peers.kamailio import Kamailio
from tests.peers.process import Child, PeerError
from tests.peers.site import ADDRESS, CALLER, DESKS, FRONT, HOSTS, PATIENCE_S, TRUNK, Site, options, until

FILES = ROOT / "deploy/cluster"
TRUNK_S = 2.0
TRUNK_CONFIG = f"""#!KAMAILIO
debug=1
log_stderror=yes
children=2
disable_tcp=yes
listen=udp:{TRUNK}:5060
use_dns_cache=on
use_dns_failover=on
dns_srv_lb=on
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
modparam("tm", "fr_timer", {TRUNK_S * 1000:.0f})

request_route {{
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{ loose_route(); t_relay(); exit; }}
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
    record_route();
    t_relay();
}}
"""
"""A trunk that looks names up by DNS SRV, and waits `TRUNK_S` for an answer of any kind."""


NAMES_CONFIG = """server:
    ip-address: 127.0.0.1
    username: ""
    chroot: ""
    zonesdir: ""
    pidfile: "{folder}/pid"
    xfrdfile: "{folder}/xfrd"
    zonelistfile: "{folder}/zones"
    server-count: 1
remote-control:
    control-enable: no
zone:
    name: example.org
    zonefile: "{zone}"
"""
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def isolated(*, by_root: bool) -> list[str]:
    """The command that gives namespaces; `by_root`: other users are known in them."""
    return ["unshare", *([] if by_root else ["--map-root-user"]), *NAMESPACES]


def lacks(*programs: str, by_root: bool = False) -> str:
    """Why a scene can't be played here, or nothing."""
    if missing := [
        one for one in programs if shutil.which(one, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]:
        return f"no {', '.join(missing)} here"
    if by_root and os.geteuid() != 0:
        return "needs root"
    tried = [*isolated(by_root=by_root), "ip", "link", "add", "one", "type", "veth", "peer", "name", "two"]
    if shutil.which("unshare") is None or subprocess.run(tried, capture_output=True, check=False).returncode:
        return "no namespaces here"
    return ""


def seen(scene: str, directory: Path, *, by_root: bool = False) -> dict[str, Any]:
    """Play it; raises PeerError with what it said."""
    script = [sys.executable, "-m", "tests.peers.fronts", scene, str(directory)]
    played = subprocess.run(
        [*isolated(by_root=by_root), *script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if played.returncode:
        raise PeerError(f"{scene}: {played.stderr[-6000:]}")
    print(played.stdout)  # the figures
    found: dict[str, Any] = json.loads(played.stdout)
    return found


def assert_drained(seen: dict[str, Any]) -> None:
    """A host that drained: its call went on, others went elsewhere at once, it ended when that call did."""
    assert set(seen["while it drains"]) == {seen["the other"]}
    assert seen["slowest while it drains, s"] < 1
    assert seen["longest silence of its call, s"] < 0.5
    assert seen["its end"] == 0 and seen["its recording"] == {"incomplete": False, "long": True}


def run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True)


def one_machine() -> None:
    """Everybody's address on the loopback interface, and one that swallows what is sent to it."""
    run("ip", "link", "set", "lo", "up")
    for address in (*HOSTS.values(), FRONT, TRUNK, CALLER, *DESKS.values()):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    run("ip", "link", "add", "nowhere", "type", "veth", "peer", "name", "nobody")
    run("ip", "link", "set", "nowhere", "arp", "off", "up")
    run("ip", "link", "set", "nobody", "up")


def vanish(address: str) -> None:
    """As of a host without power: no answer, no error either."""
    run("ip", "address", "del", f"{address}/32", "dev", "lo")
    run("ip", "route", "add", address, "dev", "nowhere", "src", TRUNK)


def come_back(address: str) -> None:
    run("ip", "route", "del", address)
    run("ip", "address", "add", f"{address}/32", "dev", "lo")


def lost(site: Site, place: Callable[[], Call], count: int) -> dict[str, Any]:
    """Who answers calls once a host has gone, and how soon."""
    taken = [site.short_call(place) for _ in range(count)]
    return {
        "once it has gone": [name for name, _ in taken],
        "slowest once it has gone, s": max(took for _, took in taken),
    }


@contextmanager
def kamailio(directory: Path, config: Path, address: str) -> Iterator[Child]:
    directory.mkdir()
    child = Child(
        ["/usr/sbin/kamailio", "-DD", "-E", "-f", config, "-Y", directory, "-w", directory, "-m", "32"],
        directory,
    )
    try:
        until(lambda: options(address), "answer to OPTIONS")
        yield child
    finally:
        child.stop()


@contextmanager
def names(directory: Path) -> Iterator[Child]:
    """A name server for example.org, which this machine asks."""
    directory.mkdir()
    (directory / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    run("mount", "--bind", directory / "resolv.conf", "/etc/resolv.conf")
    (directory / "nsd.conf").write_text(NAMES_CONFIG.format(folder=directory, zone=FILES / "voice.zone"))
    child = Child(["nsd", "-d", "-c", directory / "nsd.conf"], directory)
    try:
        child.wait_line(lambda line: "nsd started" in line, PATIENCE_S)
        yield child
    finally:
        child.stop()


def spread(site: Site, place: Callable[[], Call]) -> None:
    """Calls until both hosts have had one."""
    had: list[str] = []
    while {*had} != {*HOSTS}:
        had.append(site.short_call(place)[0])
    site.seen["calls until both hosts had one"] = len(had)


def srv(site: Site) -> None:
    """A trunk that goes by DNS SRV."""
    config = site.directory / "trunk.cfg"
    config.write_text(TRUNK_CONFIG)
    with names(site.directory / "names"), kamailio(site.directory / "trunk", config, TRUNK):
        site.start()
        site.seen["OPTIONS"] = [options(address) for address in HOSTS.values()]

        def place() -> Call:
            return site.call(f"sip:{NUMBER}@voice.example.org", TRUNK)

        spread(site, place)
        site.drained("a", place, lambda: until(lambda: options(HOSTS["a"]) == 503, "503"))
        vanish(HOSTS["a"])
        site.seen |= lost(site, place, 4)


def dispatcher(site: Site) -> None:
    """A Kamailio in front of the hosts' own."""
    run("mount", "--bind", FILES, "/etc/kamailio")
    with kamailio(site.directory / "front", Path("/etc/kamailio/kamailio-front.cfg"), FRONT):
        site.start()
        until(lambda: options(FRONT) == 200, "host that takes calls")
        run(FILES / "takes-calls", FRONT)

        def place() -> Call:
            return site.call(f"sip:{NUMBER}@{FRONT}")

        spread(site, place)
        vanish(HOSTS["a"])
        site.seen |= lost(site, place, 3)
        come_back(HOSTS["a"])
        had = ""
        while had != "a":  # its next OPTIONS finds it
            had, _ = site.short_call(place)
        site.drained("a", place, lambda: None)


def three_machines() -> None:
    """A network stack for each host; everybody else shares the one of this process."""
    run("mount", "-t", "tmpfs", "none", "/run")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "wire", "type", "bridge")
    run("ip", "address", "add", "192.0.2.1/24", "dev", "wire")
    run("ip", "link", "set", "wire", "up")
    for address in (TRUNK, CALLER, *DESKS.values()):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    for name, address in HOSTS.items():
        run("ip", "netns", "add", name)
        run(
            "ip", "link", "add", f"to-{name}", "master", "wire", "type", "veth", "peer", "eth0", "netns", name
        )
        run("ip", "link", "set", f"to-{name}", "up")
        for words in ("link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up",
                      "route add default via 192.0.2.1"):  # fmt: skip
            run("ip", "-n", name, *words.split())


def inside(name: str) -> list[str]:
    """How a program is started at a host."""
    return ["nsenter", f"--net=/run/netns/{name}", "--"]


def holder() -> str:
    """The host that has the address that moves, or nothing."""
    asked = {
        name: subprocess.run(
            ["ip", "-n", name, "-o", "address", "show", "to", ADDRESS], capture_output=True, check=True
        ).stdout
        for name in HOSTS
    }
    return "".join(name for name, said in asked.items() if said)


@contextmanager
def keepalived(directory: Path) -> Iterator[dict[str, Child]]:
    """One at each host."""
    shutil.copytree("/etc/keepalived", directory / "keepalived")  # it reads a file of its package there
    shutil.copytree(FILES, directory / "keepalived", dirs_exist_ok=True)
    run("mount", "--bind", directory / "keepalived", "/etc/keepalived")
    started: dict[str, Child] = {}
    try:
        for name in HOSTS:
            (folder := directory / f"keepalived-{name}").mkdir()
            config = f"/etc/keepalived/keepalived-{name}.conf"
            started[name] = Child(
                [*inside(name), "keepalived", "-n", "-l", "-P", "-f", config, "-p", folder / "pid", "-r",
                 folder / "vrrp", "-b", folder / "bfd"],
                folder,
            )  # fmt: skip
        yield started
    finally:
        for child in started.values():
            child.stop()
            print(child.tail(), file=sys.stderr)


def taken_at(keeper: Child) -> int:
    """When a host took the address last, monotonic ns."""
    return [at for at, line in keeper.lines if "Entering MASTER STATE" in line][-1]


def address(site: Site) -> None:
    """An address that moves."""
    for name, host in site.hosts.items():
        host.program = (*inside(name), *host.program)
    with registrar(site.directory) as trunk, keepalived(site.directory) as watching:
        site.start()
        until(holder, "host with the address")
        trunk.wait_registered(len(HOSTS))

        def place() -> Call:
            return site.call(f"sip:{NUMBER}@{TRUNK}")

        first = holder()
        (second,) = HOSTS.keys() - {first}
        began = time.monotonic()
        run("ip", "link", "set", f"to-{first}", "down")
        until(lambda: options(ADDRESS) == 200, "answer at the address")
        had, _ = site.short_call(place)
        site.seen["answered after the loss, s"] = time.monotonic() - began
        site.seen["the other has it"] = had == second
        lost = len(watching[first].lines)
        run("ip", "link", "set", f"to-{first}", "up")
        until(lambda: any("BACKUP" in line for _, line in watching[first].lines[lost:]), "host that is back")
        site.seen["the address goes back"] = holder() == first
        moved: list[str] = []

        def gone() -> None:
            began = time.monotonic_ns()
            while not moved or moved[-1] == second:
                moved.append(site.short_call(place)[0])
            site.seen["moved within, s"] = (taken_at(watching[first]) - began) / 1e9
            site.seen["calls while it moved"] = len(moved)

        site.drained(second, place, gone)
        site.seen["once it has ended"] = site.short_call(place)[0]
        # one signal, and another by `close`: it does not wait until somebody takes the address
        site.hosts[first].child.signal(SIGINT)


@contextmanager
def registrar(directory: Path) -> Iterator[Kamailio]:
    """The trunk's, which sends calls to whoever has registered."""
    trunk = Kamailio(directory, host=TRUNK, port=5060)
    try:
        yield trunk.start()
    finally:
        trunk.stop()


SCENES = {"srv": srv, "dispatcher": dispatcher, "address": address}


def main(scene: str, directory: str) -> None:
    """Run one scene."""
    (three_machines if scene == "address" else one_machine)()
    with Loop() as loop:
        sources = [FRONT] if scene == "dispatcher" else [TRUNK, CALLER]
        trunk: dict[str, Any] = {}
        if scene == "address":
            (password := Path(directory) / "password").write_text("right\n")
            password.chmod(0o600)
            login = {"username": "agent", "password_file": str(password)}
            trunk = {"shared_address": ADDRESS, "registrar": f"sip:{TRUNK}", **login}
        site = Site(Path(directory), loop, sources, **trunk)
        try:
            SCENES[scene](site)
        finally:
            site.close()
    print(json.dumps(site.seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
