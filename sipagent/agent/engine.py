"""The protocol of a SIP and media engine, and its reports to the agent. `pjsip` implements it.

The engine numbers its legs for the whole process; which call a leg belongs to is the agent's affair.
Reports come through `EngineSettings.report`, on any thread, and must be enqueued only; audio comes
through `EngineSettings.audio` on the engine's thread `ears`, or on the SIP thread within `catch_up` and
`poll`, in order for each leg. Every method belongs to the one SIP thread, except `wake`.

The engine refreshes a registration that was granted; `Registrar` decides when to ask again for one that
was refused.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, Protocol

from media.frame import Samples
from sipagent.agent.quality import Stream
from sipagent.call import events as e
from sipagent.config.identity import MAX_FORWARDS
from sipagent.config.layout import FEWEST
from sipagent.config.types import Network
from sipagent.edge.plan import HOP_HEADER

Side = Literal["trunk", "operators"]
Headers = tuple[tuple[str, str], ...]
"""SIP headers as name and value."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """An INVITE has come in as leg `leg`. `source`: the sender's address and port; `message`: its text;
    `identity`: what the edge found of its Identity header (`identity.caller_identity`), empty for nothing."""

    leg: int
    source: str
    message: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class OfLeg:
    """A fact of a leg; a `leg` inside the fact is the engine's number too, or 0 where it has none yet."""

    leg: int
    fact: e.Fact


@dataclass(frozen=True, slots=True)
class SoundEnded:
    """The last sample of a sound has been played to a leg; `token` is what `play` gave.

    `waited_s`: how long it waited to begin, when nothing of it was heard; all the time, if it never began.
    """

    leg: int
    token: int
    waited_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Registration:
    """The registrar's word: a SIP status (0: none came) and its reason. Registered where `active`."""

    active: bool
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class RealmLearnt:
    """The registrar, or the operators' PBX, has asked in this realm: its credentials are for no other now."""

    realm: str
    of: Side = "trunk"


@dataclass(frozen=True, slots=True)
class ChallengeRefused:
    """Somebody at `address` has asked for the credentials `of` a side in `realm`, and was given none.

    `known`: the realm that they are for; None: that is none of the side's addresses.
    """

    address: str
    realm: str
    of: Side
    known: str | None


@dataclass(frozen=True, slots=True)
class RefusedByEngine:
    """The engine itself refused an INVITE before asking: no free leg (503), no usable media (488), …

    486 is its library's own: it has no leg where by our count one is free; but not where this process was too
    `late` for one more call.
    """

    status: int
    source: str
    message: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The edge has given up on the INVITE with this Call-ID: it is another worker's now, or nobody's."""

    call_id: str


@dataclass(frozen=True, slots=True)
class EngineFault:
    """A callback has failed; nothing was lost but what it had to report."""

    reason: str


@dataclass(frozen=True, slots=True)
class ForeignMedia:
    """So many more packets have come to a leg's media from others than its peer, and were dropped.

    `heard`: whether the leg itself has ever been heard, else its own sound may be among them; `address`: of
    one of the others, empty where it is not known.
    """

    leg: int
    packets: int
    heard: bool = True
    address: str = ""


@dataclass(frozen=True, slots=True)
class LegFailed:
    """The library could not do what a leg needs, and why. The engine hangs it up; `LegGone` follows."""

    leg: int
    reason: str


@dataclass(frozen=True, slots=True)
class LegLost:
    """The library has a leg no more, and never said so; `LegGone` follows."""

    leg: int


Report = (
    Incoming
    | OfLeg
    | SoundEnded
    | Registration
    | RealmLearnt
    | ChallengeRefused
    | RefusedByEngine
    | GivenUp
    | EngineFault
    | LegFailed
    | LegLost
    | ForeignMedia
)


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of what a leg has handed over, of so many `samples`, that ends `back` before its end: nothing
    came in time, or was sent. It is made up (`concealed`), or silent where `nothing_came` for longer.

    A later one may say another thing of the same samples, which counts.
    """

    back: int
    samples: int
    why: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """Digest credentials (RFC 8760). While the realm is empty nobody gets a digest."""

    username: str
    password: str = field(repr=False)
    realm: str = ""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`audio(leg, samples, at)`: (n,) int16 of a leg, at most 100 ms, and when the last came (monotonic s).
    `missed`: in their place a number of samples that were not taken in time. `gap`: what of it was made up.
    `listen`, `rtp_ports`: host and port, first and last port; `codecs` in order of preference.

    `media_address`: where RTP is heard, empty for the host of `listen`. `public_address`: how others see the
    address of the media, and that of SIP, unless media have an address of their own. `media_ipv4`: whether
    media go over IPv4 at all; `media_ipv6`: where RTP is heard over IPv6, and how others see that address, or
    None where media never go over it. `registrar_proxies`,
    `outbound_proxies`: SIP URIs that a REGISTER, or an operator's INVITE, goes through, in this order.
    `trunk`: where its realm is empty, the registrar's first challenge names it. `operators`: what their PBX
    asks for, by default the trunk's; where its realm is empty, the first challenge to an INVITE names it.
    `pbx`: its hosts, which alone are given either of them in operators' legs; in callers', `callers` alone.
    `calls`: how many the process takes; `players`: sounds that the library plays at once.
    `callers`: who may begin a call; `others`: with whom else we have to do; `media_sources`: where a caller's
    sound may come from besides the addresses that its SDP and its SIP name. `has_room`: whether one more
    call would find its legs; one that finds none waits for a moment, since another may just be ending.
    `late_status(age_s)`: the status with which a call that came so long ago is refused at once, where this
    process does not keep up with those that it has; else None. `real_time`: whether its threads for sound
    come first.

    Behind the edge: `hop_token`: how its header X-Sipagent begins on requests that come in and begin
    something, `;source=IP:PORT` of their sender follows; `way_out_token`: what INVITE and REGISTER that leave
    carry there, empty for `hop_token`; `sip_peer`: the only address that SIP is taken from.
    """

    report: Callable[[Report], None]
    audio: Callable[[int, Samples, float], None]
    listen: tuple[str, int]
    uri: str
    transport: str = "udp"
    media_address: str = ""
    public_address: str = ""
    media_ipv4: bool = True
    media_ipv6: tuple[str, str] | None = None
    registrar: str = ""
    registrar_proxies: tuple[str, ...] = ()
    trunk: Credentials | None = None
    operators: Credentials | None = None
    outbound_proxies: tuple[str, ...] = ()
    rtp_ports: tuple[int, int] = (10000, 10999)
    calls: int = 2
    players: int = FEWEST.players
    codecs: tuple[str, ...] = ("PCMA", "PCMU")
    srtp: str = "off"
    operators_srtp: str = "off"
    media_timeout_s: float = 30.0
    callers: tuple[Network, ...] = (ip_network("127.0.0.0/8"),)
    pbx: frozenset[str] = frozenset({"127.0.0.1"})
    others: tuple[Network, ...] = ()
    media_sources: tuple[Network, ...] = ()
    has_room: Callable[[], bool] = lambda: True
    missed: Callable[[int, int, float], None] = lambda leg, samples, at: None
    gap: Callable[[int, Gap], None] = lambda leg, gap: None
    late_status: Callable[[float], int | None] = lambda _: None
    real_time: bool = True
    hop_token: str = field(default="", repr=False)
    way_out_token: str = field(default="", repr=False)
    sip_peer: tuple[str, int] | None = None

    @property
    def families(self) -> frozenset[int]:
        """The versions of IP that its media speak."""
        return frozenset([4] * self.media_ipv4 + [6] * bool(self.media_ipv6))

    def over_ipv6(self, *addresses: str) -> frozenset[int]:
        """The lines of an offer of ours that are over IPv6, to a host with these addresses: all or none."""
        six = addresses and all(":" in address for address in addresses)
        return frozenset({0} if 6 in self.families and (six or not self.media_ipv4) else ())

    @property
    def way_out(self) -> Headers:
        """The header of each outgoing request outside a dialog."""
        token = self.way_out_token or self.hop_token
        return ((HOP_HEADER, token),) if token else ()


class Engine(Protocol):
    """Legs are ints. Unknown or ended legs are ignored: an order may cross the leg's end."""

    @property
    def capacity(self) -> int:
        """How many legs the engine can have at once."""

    @property
    def legs(self) -> int:
        """How many it has now, those that are ending included."""

    def has(self, leg: int) -> bool:
        """Whether this leg has not ended."""

    @property
    def can_play(self) -> bool:
        """Whether one more caller's sounds would find all that playing takes."""

    @property
    def strangers(self) -> int:
        """How many requests and packets of others were dropped so far."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def drain(self) -> None:
        """Answer 503 to new calls."""

    def poll(self, timeout_s: float) -> None: ...

    def wake(self) -> None: ...

    def register(self) -> None: ...

    def learn_realm(self, realm: str, of: Side = "trunk") -> None:
        """The credentials of that side are for this realm, where they had none."""

    def challenged_by(self, trunk: tuple[Network, ...], pbx: frozenset[str]) -> None:
        """Only these are given a digest: in callers' legs, and the PBX's hosts in operators'."""

    def trust(self, media_sources: tuple[Network, ...]) -> None:
        """The sound of callers to come may come from these, too, where nothing comes from whom SDP names."""

    def answer(self, leg: int) -> None: ...

    def reject(self, leg: int, status: int, retry_after_s: int | None) -> None: ...

    def hang_up(self, leg: int, elsewhere: bool = False) -> None: ...

    def dial(self, uri: str, display: str, headers: Headers = (), hops: int = MAX_FORWARDS) -> int: ...

    def play(self, leg: int, sound: Path, loop: bool) -> int: ...

    def sent_ms(self, leg: int, token: int) -> float:
        """How much of a sound has been sent to the leg that hears it, by the packets that left; 0 of another.

        The first moments may be silence. What was sent before the leg's media last changed does not count.
        """

    def stop_playing(self, leg: int) -> None: ...

    def overlay(self, legs: tuple[int, ...], sound: Path) -> None: ...

    def bridge(self, one: int, other: int) -> None: ...

    def separate(self, leg: int) -> None: ...

    def allow_transfer(self, leg: int, targets: tuple[str, ...]) -> None: ...

    def tell_transfer(self, leg: int, status: int, last: bool) -> None: ...

    def refer(self, leg: int, uri: str) -> None: ...

    def give_up_refer(self, leg: int) -> None: ...

    def indicate(self, leg: int, recording: e.Indication) -> None: ...

    def listen(self, leg: int) -> None: ...

    def streams(self, leg: int) -> tuple[Stream, ...]:
        """What was counted of the RTP streams that a leg has sent so far; of one that has ended, once."""

    def catch_up(self, legs: Iterable[int]) -> None:
        """Hand over at once what these have sent until now."""


FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class Registrar:
    """Pure; times are monotonic seconds. `wanted`: whether there is a registrar at all."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.active = False
        self.deadline: float | None = 0.0 if wanted else None
        self._retry_s = FIRST_PAUSE_S

    def due(self, now: float) -> bool:
        """Whether to ask now; the answer is then awaited."""
        if self.deadline is None or now < self.deadline:
            return False
        self.deadline = None
        return True

    def answered(self, active: bool, now: float) -> float | None:
        """The registrar has answered, or nothing came: in how many seconds to ask again, if at all."""
        self.active = active
        if active:
            self._retry_s = FIRST_PAUSE_S
            self.deadline = None
            return None
        retry_s = self._retry_s
        self.deadline = now + retry_s
        self._retry_s = min(2 * retry_s, LONGEST_PAUSE_S)
        return retry_s
