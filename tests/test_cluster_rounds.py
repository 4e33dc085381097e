"""What judges the rounds of `tests.cluster`: it finds what is planted, and nothing where all is right."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from signal import SIGTERM
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import MagicMock

import numpy as np
from nacl.public import PrivateKey, PublicKey, SealedBox

from media.recording.chunks import PartWriter, Sealer, create_part
from sipagent.softphone.rtp import RATE
from tests.cluster import judging, plan
from tests.cluster.faults import DRAIN_S, Going
from tests.cluster.host import Host
from tests.cluster.judging import Harm, Kept, Known
from tests.cluster.phones import Attempt, Told
from tests.cluster.searching import Found, Place, search, words_in
from tests.cluster.site import Site
from tests.cluster.sound import Marked

PRIVATE, KEY = bytes([7]) * 32, bytes([3]) * 32
ID = "20261124T222000123-ha-w3-482913"
SECOND = 1_000_000_000


def said(number: int, seconds: float = 1.0) -> np.ndarray[Any, np.dtype[np.int16]]:
    """(n, 2): the caller's channel, and silence."""
    source = Marked(number)
    spoken = np.concatenate([source.frame() for _ in range(int(seconds * 50))])
    return np.stack((spoken, np.zeros_like(spoken)), axis=1)


def sealed(tmp_path: Any, number: int) -> bytes:
    part = tmp_path / f"{number}.part"
    writer = PartWriter(create_part(part), RATE, Sealer(KEY).seal)
    writer.write_audio(said(number))
    writer.close()
    content: bytes = part.read_bytes()
    return content


def vault_key(id: str = ID) -> bytes:
    public = bytes(PrivateKey(PRIVATE).public_key)
    box = SealedBox(PublicKey(public)).encrypt(f"sipagent-key-1 {id}\n".encode() + KEY)
    recipients = [{"public": b64encode(public).decode(), "comment": "", "key": b64encode(box).decode()}]
    return json.dumps({"version": "sipagent-vault-1", "id": id, "recipients": recipients}).encode()


def known(number: int = 5, **changes: Any) -> Known:
    fields: dict[str, Any] = {"refused": False, "recorded": True}
    return Known(number, ID, **(fields | changes))


def row(**changes: Any) -> dict[str, Any]:
    return {"id": ID, "status": "closed", "incomplete": False, "duration_s": 1.0} | changes


def test_a_round_is_the_same_whenever_it_is_drawn() -> None:
    drawn = [plan.draw(4, number) for number in range(200)]
    assert drawn == [plan.draw(4, number) for number in range(200)]
    assert drawn != [plan.draw(5, number) for number in range(200)]
    assert {one.fault.kind for one in drawn} == set(plan.Kind.__args__)  # type: ignore[attr-defined]
    numbers = [call.number for one in drawn for call in one.calls]
    assert len(set(numbers)) == len(numbers)


def test_who_speaks_is_found_in_what_can_be_opened(tmp_path: Any) -> None:
    sound, key = (
        Place(f"store v1/{ID}.part/00001", sealed(tmp_path, 5)),
        Place(f"store v1/{ID}.key", vault_key()),
    )
    assert search([sound, key], PRIVATE).of(ID)[5] >= 99
    assert search([sound, key], bytes([8]) * 32).heard == []
    without = search([sound], PRIVATE)
    assert without.heard == [] and without.sealed == {ID}


def test_a_key_that_lies_elsewhere_opens_what_has_lost_its_own(tmp_path: Any) -> None:
    other = ID.replace("482913", "482914")
    found = search(
        [Place(f"a/{other}.part", sealed(tmp_path, 5)), Place(f"b/{ID}.key", vault_key())], PRIVATE
    )
    assert [who for _, _, who in found.heard] and found.of(other)[5] >= 99


def test_sound_in_clear_is_found() -> None:
    assert search([Place("a/x.part", said(5).astype("<i2").tobytes())], PRIVATE).in_clear == ["a/x.part"]
    assert search([Place("a/x.raw", said(5)[:, 0].astype("<i2").tobytes())], PRIVATE).in_clear == ["a/x.raw"]
    assert words_in([Place("base/1", b"\0\0+33698000005\0")], [b"+33698"]) == ["base/1: +33698"]


def told(status: int = 200, **changes: Any) -> Told:
    call = plan.Call(5, "a", 0, "refuses", 0.2, 2.0, "")
    one = Told(call, [Attempt("a", "x@1", 0, status)], answered_ns=SECOND, ended_ns=9 * SECOND)
    for name, value in changes.items():
        setattr(one, name, value)
    return one


def receipt(**changes: Any) -> dict[str, Any]:
    fields = {"call_id": "x@1", "id": ID, "ended_at": "then", "decision": "allowed", "recording_id": ID}
    times = {"answered_at": "2026-11-24T22:20:00.000Z", "connected_at": "2026-11-24T22:20:02.000Z"}
    return fields | times | changes


def test_every_answered_call_has_one_receipt() -> None:
    assert judging.receipts_of([told()], [receipt()])[1] == []
    assert "0 receipts" in judging.receipts_of([told()], [])[1][0]
    assert "2 receipts" in judging.receipts_of([told()], [receipt(), receipt(id="other")])[1][0]
    assert "not complete" in judging.receipts_of([told()], [receipt(ended_at=None)])[1][0]
    assert judging.receipts_of([told(0)], [])[1] == []


def test_who_talked_until_the_host_was_hit_has_talked_so_long() -> None:
    assert judging.receipts_of([told()], [receipt()])[0][0].talked_s == 6
    hit = Harm("a", 6 * SECOND, 8 * SECOND)
    assert judging.receipts_of([told()], [receipt()], [hit])[0][0].talked_s == 3
    assert judging.receipts_of([told()], [receipt(connected_at=None)])[0][0].talked_s == 0


def test_a_key_in_time_is_a_refusal_unless_its_host_was_hit() -> None:
    pressed = told(pressed_ns=3 * SECOND)
    assert "refused" in judging.refusals([pressed], [known()], [])[0]
    assert judging.refusals([pressed], [known(refused=True)], []) == []
    assert judging.refusals([pressed], [known()], [Harm("a", 3 * SECOND, 4 * SECOND)]) == []
    assert judging.refusals([pressed], [known()], [Harm("b", 3 * SECOND, 4 * SECOND)]) != []
    assert judging.refusals([told()], [known()], []) == []


def test_what_must_not_lie_there_and_what_must() -> None:
    there = Found(heard=[(f"a/{ID}.sealed", ID, {5: 100})], keys={ID}, sealed={ID})
    assert judging.stores([known()], Kept({ID: row()}, there)) == []
    for gone in ("refused", "deleted", "purged"):
        wrong = judging.stores([known(**{gone: True})], Kept({ID: row(status="erased")}, there))
        assert len(wrong) == 3 and gone in wrong[0], wrong
    assert "held" in judging.stores([known(held=True)], Kept({ID: row(status="purged")}, Found()))[0]
    short = known(talked_s=0.5)
    assert "nothing can be heard" in judging.stores([short], Kept({ID: row()}, Found()))[0]
    gone_before = known(talked_s=-0.4)  # its BYE was lost, and what was recorded is the wait for its end
    assert judging.stores([gone_before], Kept({ID: row()}, Found())) == []
    silent = judging.stores([known(talked_s=3)], Kept({ID: row(status="failed")}, Found()))
    assert "talked 3.0 s: failed" in silent[0]
    assert judging.stores([known(talked_s=3)], Kept({ID: row()}, there)) == []
    assert "left open" in judging.stores([known()], Kept({ID: row(status="open")}, there))[0]
    assert "in clear" in judging.stores([], Kept({}, Found(in_clear=["x"])))[0]


def test_an_operator_is_in_one_call_at_a_time() -> None:
    assert judging.operators({"desk0": [(0, 5), (5, 9)], "desk1": [(0, 9)]}) == []
    assert "desk0" in judging.operators({"desk0": [(0, 5), (4, 9)]})[0]


def test_a_phone_in_a_call_is_rung_for_another_only_while_something_keeps_hosts_from_knowing() -> None:
    assert judging.rung([5, 8], [(5, 6), (7, 9)]) == []
    assert judging.rung([4, 5, 10], [(5, 9)]) == ["2 times a phone in a call was rung for another"]


def test_when_a_host_had_no_board_is_in_its_log() -> None:
    away, back = (
        "alert reason='the board of operators that all hosts share is away (x)",
        "board_shared detail",
    )
    lines = [(1, back), (2, away), (3, "ready"), (4, back), (5, away)]
    host = cast(
        Host, SimpleNamespace(agent=SimpleNamespace(started=True, child=SimpleNamespace(lines=lines)))
    )
    first, (since, until) = Host.without_board(host)
    assert first == (2, 4) and since == 5 < until


def test_a_host_that_drains_is_told_so_once() -> None:
    """A second signal ends it at once: where it is just ending, by that signal."""
    seen: list[object] = []

    def noted(what: object, code: int = 0) -> int:
        seen.append(what)
        return code

    child = SimpleNamespace(signal=noted, wait=noted, tail=str)
    host = SimpleNamespace(
        name="c",
        up=False,
        agent=SimpleNamespace(child=child, stop=lambda timeout: noted("stop", -15)),
        start=lambda wait: noted("start"),
        wait_ready=lambda: None,
        burn=None,
        lines=MagicMock(),
    )
    site = SimpleNamespace(hosts={"c": host}, engines=MagicMock())
    drain = plan.Fault("drain", "c", 0, 0, False)
    going = Going(cast(Site, site), drain, 0.0, random.Random(1))
    going.end()
    assert going.wrong == [] and seen == [SIGTERM, DRAIN_S, "start"]


def test_what_no_row_names_is_found() -> None:
    there = [("a.json", "v1"), ("a.json", "v2"), ("b.json", "v3"), ("rows/x/1", "v4"), ("rows/x/2", "v5")]
    rows = [("a.json", "v2"), ("b.json", None)]
    assert judging.unnamed(there, rows, ["rows/x/2"]) == [
        "no row names a.json v1",
        "no row names rows/x/1 v4",
    ]
