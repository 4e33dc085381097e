"""Who really calls: Identity headers that are really signed, through a real Kamailio."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.records import CallerIdentity
from sipagent.config.identity import caller_identity
from sipagent.edge.plan import HOP_HEADER, Identities
from sipagent.sip.messages import said_by_edge
from sipagent.softphone.phone import Call, Loop, Phone
from sipagent.softphone.sip import Headers
from tests.peers.agent import RunningAgent, behind_edge
from tests.peers.edge import WORKERS, Edge, opened
from tests.peers.passport import PLACE, Signer, published
from tests.tapping import wait_for

pytestmark = pytest.mark.live

SIGNER, OTHER = Signer(), Signer()
ELSEWHERE = Signer("cert.example.net/b.pem")
# the first two would lead to a file, beside the folder
UNNAMEABLE = ("cert.example.net/../../a.pem", "../a.pem", "cert.example.net/a.pem?b=c", "h/" + "a" * 300)
PAD = "x" * 1300


def cases() -> dict[str, tuple[str, Headers]]:
    """By name: what comes of it, and the headers."""
    sign, now = SIGNER.identity, int(time.time())
    told = {
        "A": ("verified A", sign()),
        "B": ("verified B", sign(attest="B")),
        "C": ("verified C", sign(attest="C")),
        "no level": ("verified, level unknown", sign(attest="")),
        "folded": ("verified A", sign().replace(";", ";\r\n ")),
        "of two called": ("verified A", sign(dest={"tn": ["33123456789", "33323063006"]})),
        "stale": ("failed", sign(iat=now - 70)),
        "of tomorrow": ("failed", sign(iat=now + 86_400)),
        "to somebody else": ("failed", sign(dest={"tn": ["33123456789"]})),
        "of somebody else": ("failed", sign(orig={"tn": "33612345679"})),
        "another key": ("failed", OTHER.identity()),
        "another place than was signed": ("failed", sign().replace("info=<https://", "info=<https://x.")),
        "altered": ("failed", sign().replace(".eyJ", ".eyj", 1)),
        "garbage": ("failed", "garbage"),
        "nothing": ("failed", ";"),
        "huge": ("failed", "a" * 9000 + sign()),
        "stranger": ("claimed", ELSEWHERE.identity()),
        "a diversion": ("claimed", sign(ppt="div")),
        "many claims": ("claimed", sign(mky="x" * 400)),
    }  # fmt: skip
    every: dict[str, tuple[str, Headers]] = {
        name: (state, (("Identity", value),)) for name, (state, value) in told.items()
    }
    every |= {
        f"place {number}": ("claimed", (("Identity", SIGNER.at(place).identity()),))
        for number, place in enumerate(UNNAMEABLE)
    }
    # what the claims of a passport need is not taken from what a worker can read
    every["beside much else"] = ("verified A", (("Identity", sign()), ("X-Other", PAD)))
    every["beside all that a worker can read"] = ("claimed", (("Identity", sign()), ("Supported", PAD)))
    every["behind a diversion"] = ("verified A", (("Identity", sign(ppt="div")), ("Identity", sign())))
    elsewhere = sign(dest={"tn": ["33123456789"]})
    every["diverted to us"] = ("claimed", (("Identity", elsewhere), ("Identity", sign(ppt="div"))))
    every["compact"] = ("verified A", (("y", sign()),))
    every["none"] = ("claimed", ())
    return every


@contextmanager
def verifying(directory: Path, roots: Path | None = None) -> Iterator[Edge]:
    """An edge with the carrier's certificate, for many calls at once."""
    folder = directory / "certificates"
    SIGNER.lays(folder)
    SIGNER.lays(folder, f"x.{PLACE}")
    SIGNER.lays(folder, "../a.pem")
    identities = Identities(folder, roots, 60)
    with opened(directory / "edge", calls=90, calls_per_worker=30, identities=identities) as edge:
        yield edge


def worth(edge: Edge, call: Call) -> str:
    """What the worker that has the call makes of it."""

    def seen() -> list[str]:
        return [
            one.message.pack().decode()
            for worker in edge.workers
            for one in worker.seen
            if one.describe() == "INVITE received" and one.message.header("Call-ID") == call.call_id
        ]

    edge.until(seen, "INVITE at a worker")
    message = seen()[0]
    assert "Identity:" not in message.replace("P-Asserted-Identity:", "") and len(message) < 4000
    told = said_by_edge(message, edge.tokens.from_edge, "identity")
    return caller_identity(message, "FR", datetime.now(UTC), told).state


def test_what_an_identity_is_worth_and_no_call_is_refused_for_it(tmp_path: Path) -> None:
    with verifying(tmp_path) as edge:
        every = cases()
        placed = {name: edge.call(headers=headers) for name, (_, headers) in every.items()}
        found = {name: worth(edge, call) for name, call in placed.items()}
        assert found == {name: state for name, (state, _) in every.items()}
        for call in placed.values():
            call.wait_answered()
        # and nobody else may say what came of it
        header = (HOP_HEADER, f"{edge.tokens.from_edge};identity=signed.e30")
        assert worth(edge, edge.call(headers=(header,))) == "claimed"
        assert edge.process.running and not edge.rejected and len(edge.workers) == WORKERS


def test_a_missing_certificate_is_asked_for_and_read_once_it_is_there(tmp_path: Path) -> None:
    with verifying(tmp_path) as edge:
        wanted: list[str] = []
        edge.process._wanted = wanted.append
        header = ("Identity", ELSEWHERE.identity())
        assert worth(edge, edge.call(headers=(header,))) == "claimed"
        edge.until(lambda: wanted, "word of the certificate")
        assert wanted == [ELSEWHERE.place]
        ELSEWHERE.lays(tmp_path / "certificates")
        assert worth(edge, edge.call(headers=(header,))) == "verified A"


def test_certificates_lead_to_a_root_that_is_given(tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(SIGNER.root_certificate())
    header = ("Identity", SIGNER.identity())
    with verifying(tmp_path, roots) as edge:
        assert worth(edge, edge.call(headers=(header,))) == "verified A"
        roots.write_bytes(OTHER.root_certificate())
        assert worth(edge, edge.call(headers=(header,))) == "failed"
        roots.unlink()  # nobody's fault but ours
        assert worth(edge, edge.call(headers=(header,))) == "claimed"


def test_a_receipt_tells_who_really_calls(tmp_path: Path) -> None:
    """Through the edge, a worker and its row: by the network's word, and by a signature."""
    SIGNER.lays(tmp_path / "signers")
    tables = behind_edge(1)
    tables["operators"] = {"extensions": ["sip:201@127.0.0.1:9"]}
    tables["trunk"] |= {"verify_identity": True, "identity_certificates": str(tmp_path / "signers")}
    asserted = "P-Asserted-Identity"
    heard = {
        (("Identity", SIGNER.identity(attest="B")),): ("+33612345678", "B", True, False),
        (("Identity", SIGNER.identity(orig={"tn": "33700000000"})),): ("+33612345678", None, False, False),
        ((asserted, "<tel:+33612345678;verstat=TN-Validation-Passed-A>"),): (
            "+33612345678",
            "A",
            True,
            False,
        ),
        ((asserted, "<tel:+33612345678>"), ("Privacy", "id")): (None, None, None, True),
    }
    with ExitStack() as stack:
        caller = stack.enter_context(Phone(stack.enter_context(Loop()), "+33612345678"))
        agent = RunningAgent(tmp_path / "agent", tables)
        agent.start()
        stack.callback(agent.close)
        for number, headers in enumerate(heard):
            call = caller.call(agent.uri("+33323063006"), headers=headers)
            call.wait_answered()
            call.hang_up()
            receipts = agent.wait_receipts(number + 1)
        told = [one["caller_identity"] for one in receipts]
    assert [tuple(one.values()) for one in told] == [*heard.values()]
    assert list(told[0]) == ["number", "attestation", "verified", "masked"]


def test_a_listed_host_is_asked_once_a_call_has_named_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = behind_edge(1)
    tables["operators"] = {"extensions": ["sip:201@127.0.0.1:9"]}
    with ExitStack() as stack:
        host, ca = stack.enter_context(published(tmp_path))
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        signer = Signer(f"{host}/a.pem")
        signer.lays(tmp_path)
        tables["trunk"] |= {"verify_identity": True, "identity_hosts": [host]}
        caller = stack.enter_context(Phone(stack.enter_context(Loop()), "+33612345678"))
        agent = RunningAgent(tmp_path / "agent", tables)
        agent.start()
        stack.callback(agent.close)
        for number in range(2):
            header = ("Identity", signer.identity())
            call = caller.call(agent.uri("+33323063006"), headers=(header,))
            call.wait_answered()
            call.hang_up()
            receipts = agent.wait_receipts(number + 1)
            wait_for((tmp_path / "agent" / "edge" / "certificates" / signer.place).exists)
    states = [CallerIdentity.from_json(one["caller_identity"]).state for one in receipts]
    assert states == ["claimed", "verified A"]
