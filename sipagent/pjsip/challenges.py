"""Who is given a digest (RFC 3261 section 22): in operators' legs their PBX, in callers' the trunk.

The library answers whoever asks in a realm that it has a password for, at any moment of a dialog: who asks
with another server's nonce would have a digest that is good there. So the challenge of anybody else is taken
out of its response before the library's layers see it.
"""

from collections.abc import Callable, Collection
from ipaddress import IPv4Address, IPv6Address, ip_address

from sipagent.agent.engine import ChallengeRefused, EngineSettings, Side
from sipagent.config.identity import call_id, header_values
from sipagent.config.types import Network
from sipagent.pjsip.accounts import Account, Accounts
from sipagent.pjsip.legs import Leg
from sipagent.pjsip.text import challenge_realm, signalling_source

TOLD = 100  # of addresses and realms: whoever sends can have many
CALLERS = 1000  # that are known by their Call-IDs: a BYE may still be answered when its leg is gone

Addresses = frozenset[IPv4Address | IPv6Address]


class Challenges:
    """On the SIP thread. `live`: the legs that have not ended."""

    def __init__(
        self, settings: EngineSettings, accounts: Accounts, live: Callable[[], Collection[Leg]]
    ) -> None:
        self._settings, self._accounts, self._live = settings, accounts, live
        self._trunk: tuple[Network, ...] = ()
        self._pbx: dict[str, Addresses] = {}
        self._told: set[ChallengeRefused] = set()
        self._callers: dict[str, None] = {}  # Call-IDs, in the order in which they came
        self.come_from(settings.callers, settings.pbx)

    def come_from(self, trunk: tuple[Network, ...], pbx: frozenset[str]) -> None:
        """Whom callers' legs may be asked by, and the hosts of whom operators' legs may."""
        self._trunk = trunk
        self._pbx = {host: self._pbx.get(host, _addresses(host)) for host in pbx}

    def awaits(self, name: str) -> bool:
        """Whether it must be known what this host name leads to, lest nobody there be answered."""
        account = self._accounts.operators
        return name in self._pbx and account is not None and account.credentials is not None

    def found(self, name: str, addresses: Collection[str]) -> None:
        """A host name leads to these now; none: nobody knows."""
        if name in self._pbx and addresses:
            self._pbx[name] = _addresses(*addresses)

    def called(self, call_id: str) -> None:
        """A caller's INVITE has come."""
        self._callers[call_id] = None
        if len(self._callers) > CALLERS:
            live = {leg.call_id for leg in self._live()}
            del self._callers[next(one for one in self._callers if one not in live)]

    def heeded(self, message: str, source: str) -> bool:
        """Whether a response may ask; `source`: its sender by the socket, `host:port`."""
        if "authenticate" not in message.lower():
            return True
        methods = {value.split()[-1:] == ["REGISTER"] for value in header_values(message, "CSeq")}
        if methods == {True}:
            return True  # by the registrar: nobody else knows its branch
        of_caller = call_id(message) in self._callers
        account = self._accounts.trunk if of_caller else self._accounts.operators
        if account is None or account.credentials is None:
            return True
        sender = signalling_source(message, source, self._settings.hop_token).rpartition(":")[0].strip("[]")
        known = any(
            address in of
            for address in _addresses(sender)
            for of in (self._trunk if of_caller else self._pbx.values())
        )
        if realm := challenge_realm(message):
            self._look_at(realm, sender, account, "trunk" if of_caller else "operators", known=known)
        return known

    def _look_at(self, realm: str, sender: str, account: Account, of: Side, *, known: bool) -> None:
        """Tell of who is refused, once."""
        if known and (account.realm in ("", realm) or not account.learns):
            return
        refused = ChallengeRefused(sender, realm, of, account.realm if known else None)
        if refused not in self._told and len(self._told) < TOLD:
            self._told.add(refused)
            self._settings.report(refused)


def _addresses(*texts: str) -> Addresses:
    """Those that are addresses, not names."""
    found = set()
    for text in texts:
        try:
            found.add(ip_address(text.strip("[]")))
        except ValueError:
            continue
    return frozenset(found)
