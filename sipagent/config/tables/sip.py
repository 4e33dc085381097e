"""Whom calls come from and go to, and what stands between: [trunk], [operators], [edge]."""

from typing import Annotated, Literal

from pydantic import PlainValidator

from sipagent.config import types
from sipagent.config.keys import (
    Code,
    HeaderName,
    HeaderValue,
    Number,
    OptionalPath,
    OptionalServer,
    Table,
    Text,
    Uri,
    key,
    optional,
    seconds,
    several,
)


class CredentialsTable(Table):
    """The keys that name a login: a user, and one place to read the password from."""

    username: Text = key("a user name", "")
    password_file: OptionalPath = key("a file that holds the password", None)
    password_env: Text = key("the name of an environment variable", "")


class TrunkTable(CredentialsTable):
    """Where calls come from."""

    uri: Uri = key("a SIP URI such as sip:agent@trunk.example.net")
    registrar: OptionalServer = key("a SIP URI such as sip:trunk.example.net; absent: no registration", None)
    realm: Text = key("the registrar's realm; empty: taken from its first challenge", "")
    transport: Literal["udp", "tcp", "tls"] = key("udp | tcp | tls", "udp")
    listen: Annotated[types.HostPort, PlainValidator(types.listen)] = key(
        "address:port such as 127.0.0.1:5060, IPv6 as [::1]:5060", "127.0.0.1:5060"
    )
    public_address: Annotated[str | None, optional(types.host)] = key(
        "a host name or an IP address; empty: that of listen", None
    )
    shared_address: Annotated[str | None, optional(types.address)] = key(
        "an IP address that moves between hosts; empty: none", None
    )
    rtp_ports: Annotated[types.PortRange, PlainValidator(types.port_range)] = key(
        "first-last such as 10000-10999, from 1024 on, the first one even", "10000-10999"
    )
    numbers: tuple[Number, ...] = several("a list of numbers such as +33323063006; empty: any", ())
    allowed_sources: tuple[Annotated[types.Network, PlainValidator(types.network)], ...] = several(
        "a list of addresses or networks such as 192.0.2.10 or 192.0.2.0/28; empty: the registrar's", ()
    )
    media_sources: tuple[Annotated[types.Network, PlainValidator(types.network)], ...] = several(
        "a list of addresses or networks such as 192.0.2.64/28; empty: where SDP and SIP say", ()
    )
    codecs: tuple[Annotated[str, PlainValidator(types.codec)], ...] = several(
        "a list of " + ", ".join(types.CODECS), ("PCMA", "PCMU", "G722"), least=1
    )
    srtp: Literal["off", "optional", "required"] = key("off | optional | required", "off")


class OperatorsTable(CredentialsTable):
    """Who answers the callers."""

    extensions: tuple[Uri, ...] = several("a list of SIP URIs such as sip:201@pbx.example.net", least=1)
    outbound_proxy: OptionalServer = key("a SIP URI such as sip:pbx.example.net;lr", None)
    strategy: Literal["sequential", "simultaneous", "round_robin"] = key(
        "sequential | simultaneous | round_robin", "sequential"
    )
    ring_s: float = seconds(1, 300, 20)
    max_wait_s: float = seconds(0, 3600, 120)
    wrap_up_s: float = seconds(0, 3600, 0)
    alert_info_recorded: HeaderValue = key("the value of an Alert-Info header; empty: none", "")
    alert_info_not_recorded: HeaderValue = key("the value of an Alert-Info header; empty: none", "")
    recording_header: HeaderName = key("the name of a header such as X-Recording; empty: none", "")
    transfer: Literal["bridge", "refer"] = key("bridge | refer", "bridge")
    refer_targets: tuple[Uri, ...] = several("a list of SIP URIs", ())
    transfer_targets: tuple[Uri, ...] = several("a list of SIP URIs; empty: the extensions", ())
    stop_code: Code = key("1 to 8 keys of a telephone such as *5", "*5")
    stop_erases: bool = key("true | false", True)
    pause_code: Code = key("1 to 8 keys of a telephone such as *6", "*6")
    flag_code: Code = key("1 to 8 keys of a telephone such as *7", "*7")


class EdgeTable(Table):
    """Kamailio, which stands between the network and the processes that carry the calls."""

    start: bool = key("true | false", True)
    worker_ports: Annotated[types.PortRange, PlainValidator(types.port_range)] = key(
        "first-last such as 7000-7999, from 1024 on, the first one even", "7000-7999"
    )
    invites_per_s: int | None = key(
        "INVITEs a second that one process is given, 1 to 1000; absent: by the engine", None, ge=1, le=1000
    )
    tls_listen: Annotated[types.HostPort | None, optional(types.listen)] = key(
        "address:port such as 0.0.0.0:5061; absent: TLS only where trunk.transport is tls", None
    )
    certificate: OptionalPath = key("a PEM file: the certificate and those that lead to its root", None)
    private_key: OptionalPath = key("a PEM file: the certificate's private key", None)
    ca: OptionalPath = key(
        "a PEM file of the roots that others' certificates are checked against; absent: the system's", None
    )
