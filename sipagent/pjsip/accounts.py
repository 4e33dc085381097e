"""The library's endpoint and our accounts with it: the trunk's, and that by which operators are rung.

First what all native objects with callbacks need, legs too: the engine as they know it (`Owner`), and
`guarded_callback`, by which no exception escapes into native code.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import pjsua2 as pj

from sipagent.agent.engine import (
    Credentials,
    EngineFault,
    EngineSettings,
    RefusedByEngine,
    Registration,
    Side,
)
from sipagent.config.identity import call_id
from sipagent.config.layout import EngineLimits
from sipagent.pjsip import library
from sipagent.pjsip.library import order
from sipagent.sip.messages import challenge_realm


class Owner(Protocol):
    """The engine, as far as all that it owns knows it."""

    @property
    def settings(self) -> EngineSettings:
        """With `report` and `audio`, which any thread may call."""

    @property
    def limits(self) -> EngineLimits:
        """How much of everything there is."""

    @property
    def later(self) -> list[Callable[[], object]]:
        """Work that a callback may not do itself."""

    def next_number(self) -> int:
        """A number that no leg and no sound has had."""

    def wake(self) -> None:
        """End a `poll` early; any thread."""


class Owned(Protocol):
    """A native object whose callbacks are guarded."""

    @property
    def engine(self) -> Owner: ...


P = ParamSpec("P")
Native = TypeVar("Native", bound=Owned)


def guarded_callback(
    callback: Callable[Concatenate[Native, P], None],
) -> Callable[Concatenate[Native, P], None]:
    """An exception in a callback would be printed and forgotten; make it a report instead."""

    @functools.wraps(callback)
    def guarded(native: Native, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(native, *args, **kwargs)
        except Exception as failure:  # noqa: BLE001 - nothing may escape into native code
            native.engine.settings.report(EngineFault(f"{callback.__qualname__}: {failure!r}"))

    return guarded


class AccountOwner(Owner, Protocol):
    """The protocol by which the endpoint and its accounts report to the engine."""

    def invited(self, account: "SipAccount", call: int, message: str, source: str) -> None:
        """An INVITE has come, as the library's call `call`."""

    def refused_by_library(self, call_id: str) -> None:
        """An INVITE that had passed is no leg."""

    def registrar_asks(self, realm: str) -> None:
        """The registrar has challenged us for the first time."""


class Endpoint(pj.Endpoint):
    def __init__(self, engine: AccountOwner) -> None:
        super().__init__()
        self.engine = engine

    @guarded_callback
    def onRejectedIncomingCall(self, prm: pj.OnRejectedIncomingCallParam) -> None:
        rdata = prm.rdata
        self.engine.refused_by_library(call_id(rdata.wholeMsg))
        self.engine.settings.report(RefusedByEngine(prm.statusCode, rdata.srcAddress, rdata.wholeMsg))


class SipAccount(pj.Account):
    """The trunk's account, which also takes the calls, or the operators', which only dials."""

    def __init__(
        self, engine: AccountOwner, config: pj.AccountConfig, credentials: Credentials | None
    ) -> None:
        super().__init__()
        self.engine = engine
        self.config = config
        self.credentials = credentials
        self.learns = False  # its realm, where that is empty, from the first challenge to an INVITE

    @guarded_callback
    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        rdata = prm.rdata
        self.engine.invited(self, prm.callId, rdata.wholeMsg, rdata.srcAddress)

    @guarded_callback
    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        rdata = prm.rdata
        if prm.code in (401, 407) and not self.realm and (realm := challenge_realm(rdata.wholeMsg)):
            self.engine.registrar_asks(realm)
            return
        info = self.getInfo()
        active = prm.code // 100 == 2 and info.regIsActive
        self.engine.settings.report(Registration(active, prm.code, prm.reason))

    @property
    def realm(self) -> str:
        """Of the credentials; empty while none has been learnt."""
        return self.credentials.realm if self.credentials else ""

    def learn_realm(self, realm: str) -> None:
        """Take the realm for good: a digest never goes to another."""
        if self.credentials and not self.credentials.realm:
            self.credentials = replace(self.credentials, realm=realm)

    def arm(self) -> None:
        """Hand the credentials to the library, which needs the realm for it."""
        if self.credentials and self.credentials.realm:
            c = self.credentials
            self.config.sipConfig.authCreds.clear()
            self.config.sipConfig.authCreds.append(
                pj.AuthCredInfo("digest", c.realm, c.username, 0, c.password)
            )

    def arm_anew(self) -> None:
        """Hand them over to an account that is in use."""
        self.arm()
        self.modify(self.config)


class SipAccounts:
    """Both, from `open` to `clear`."""

    def __init__(self, engine: AccountOwner) -> None:
        self._engine = engine
        self.trunk: SipAccount | None = None
        self.operators: SipAccount | None = None
        self._left = False

    def open(self, transport: int) -> SipAccount:
        """Make both on the library's transport of this id; returns the trunk's."""
        s = self._engine.settings
        self.trunk = self._made(transport, s.trunk, s.registrar_proxies, s.srtp, s.registrar)
        self.operators = self._made(transport, s.operators or s.trunk, s.outbound_proxies, s.operators_srtp)
        self.operators.learns = s.operators is not None
        return self.trunk

    def _made(
        self,
        transport: int,
        credentials: Credentials | None,
        proxies: tuple[str, ...],
        srtp: str,
        registrar: str = "",
    ) -> SipAccount:
        config = library.account_config(self._engine.settings, transport, registrar, proxies, srtp)
        account = SipAccount(self._engine, config, credentials)
        account.arm()
        account.create(account.config)
        return account

    def leave(self) -> None:
        """Unregister, and ask nothing more; `clear` lets them go once the library has said so."""
        self._left = True
        for account in (self.operators, self.trunk):
            if account is not None:
                account.shutdown()

    def clear(self) -> None:
        self.operators = self.trunk = None

    def register(self) -> None:
        """Ask the registrar, once; its answer, or that none came, is reported as `Registration`."""
        if self.trunk and self._engine.settings.registrar and not self._left:
            order(self.trunk.setRegistration, True)

    def unregister(self) -> None:
        """Tell the registrar that we are gone; its answer, or that none came, is reported, too."""
        if self.trunk and self._engine.settings.registrar:
            order(self.trunk.setRegistration, False)

    def learn_realm(self, realm: str, of: Side) -> None:
        """The credentials of that side are for this realm, where they had none."""
        for account in (self.trunk, self.operators):
            if account and account.learns == (of == "operators") and not account.realm:
                account.learn_realm(realm)
                account.arm_anew()
