"""Kamailio as the trunk's registrar, and as a PBX in front of phones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sipagent.softphone.loop import PATIENCE_S
from tests.peers.process import Child, free_ports, wait_answer

REALM = "trunk.test"

_CONFIG = """#!KAMAILIO
debug=2
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:{host}:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "xlog.so"
modparam("registrar", "min_expires", 1)
modparam("registrar", "max_expires", {expires})
modparam("registrar", "default_expires", {expires})

request_route {{
    if (has_totag()) {{
        if (is_method("ACK") && !loose_route()) {{
            if (t_check_trans()) t_relay();
            exit;
        }}
        if (!is_method("ACK") && !loose_route()) {{ sl_send_reply("404", "Not here"); exit; }}
        t_relay();
        exit;
    }}
    if (is_method("CANCEL|ACK")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (is_method("OPTIONS") && $rU == $null) {{ sl_send_reply("200", "OK"); exit; }}
    t_check_trans();
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("{realm}", "{password}", "0") || $au != "{username}") {{
            xlog("L_WARN", "challenged: $au\\n");
            www_challenge("{realm}", "1");
            exit;
        }}
        if (save("location")) xlog("L_WARN", "registered: $au expires=$hdr(Expires)\\n");
        exit;
    }}
    record_route();
{phones}
    if ($rU != "{username}") $rU = "{username}";
    if (!lookup("location")) {{ sl_send_reply("404", "Not registered"); exit; }}
    t_relay();
}}
"""

_PHONE = """    if ($rU == "{user}") {{
        $du = "sip:{ip}:{port}";
        t_relay();
        exit;
    }}"""


@dataclass
class Kamailio:
    """A registrar, by default on a loopback port. `phones`: where extensions are."""

    directory: Path
    username: str = "agent"
    password: str = "right"
    expires: int = 60
    phones: dict[str, tuple[str, int]] = field(default_factory=dict)
    realm: str = REALM
    port: int = field(default_factory=lambda: free_ports(1))
    host: str = "127.0.0.1"
    _child: Child | None = None

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def uri(self) -> str:
        return f"sip:{self.host}:{self.port}"

    @property
    def child(self) -> Child:
        assert self._child is not None, "not started"
        return self._child

    def start(self) -> Kamailio:
        """Run it in the foreground and wait until it answers; again after `stop` is a restart."""
        path = self.directory / f"kamailio-{self.port}.cfg"
        path.write_text(self._configuration())
        run = self.directory / f"kamailio-{self.port}"
        run.mkdir(exist_ok=True)
        self._child = Child(
            ["/usr/sbin/kamailio", "-DD", "-E", "-f", path, "-Y", run, "-m", "32", "-M", "4", "-w", run], run
        )
        wait_answer(self.address)
        return self

    def stop(self) -> None:
        if self._child:
            self._child.stop()

    def wait_registered(self, times: int = 1, timeout: float = PATIENCE_S) -> None:
        """Until it has accepted this many REGISTERs since its start."""
        self.child.wait_line(
            lambda _: sum("registered: " in line for _, line in self.child.lines) >= times,
            timeout,
            "registration",
        )

    def challenges(self) -> int:
        return sum("challenged: " in line for _, line in self.child.lines)

    def _configuration(self) -> str:
        phones = "\n".join(
            _PHONE.format(user=user, ip=ip, port=port) for user, (ip, port) in self.phones.items()
        )
        return _CONFIG.format(
            host=self.host, port=self.port, realm=self.realm, username=self.username, password=self.password,
            expires=self.expires, phones=phones,
        )  # fmt: skip
