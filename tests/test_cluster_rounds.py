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
ID, OTHER = "20261124T222000123-ha-w3-482913", "20261124T222000123-ha-w3-482914"
SECOND = 1_000_000_000


def said() -> np.ndarray[Any, np.dtype[np.int16]]:
    """(n, 2): a second of caller 5, and silence."""
    source = Marked(5)
    spoken = np.concatenate([source.frame() for _ in range(50)])
    return np.stack((spoken, np.zeros_like(spoken)), axis=1)


def test_who_speaks_is_found_in_what_can_be_opened_and_in_clear(tmp_path: Any) -> None:
    """Also by a key that lies elsewhere, where a sound has lost its own."""
    writer = PartWriter(create_part(tmp_path / "5.part"), RATE, Sealer(KEY).seal)
    writer.write_audio(said())
    writer.close()
    sealed = (tmp_path / "5.part").read_bytes()
    public = bytes(PrivateKey(PRIVATE).public_key)
    box = SealedBox(PublicKey(public)).encrypt(f"sipagent-key-1 {ID}\n".encode() + KEY)
    recipients = [{"public": b64encode(public).decode(), "comment": "", "key": b64encode(box).decode()}]
    described = json.dumps({"version": "sipagent-vault-1", "id": ID, "recipients": recipients})
    sound, key = (
        Place(f"store v1/{ID}.part/00001", sealed),
        Place(f"store v1/{ID}.key", described.encode()),
    )
    assert search([sound, key], PRIVATE).of(ID)[5] >= 99
    assert search([sound, key], bytes([8]) * 32).heard == []
    without = search([sound], PRIVATE)
    assert without.heard == [] and without.sealed == {ID}
    assert search([Place(f"a/{OTHER}.part", sealed), key], PRIVATE).of(OTHER)[5] >= 99
    for clear in (said(), said()[:, 0]):
        assert search([Place("a/x", clear.astype("<i2").tobytes())], PRIVATE).in_clear == ["a/x"]
    assert words_in([Place("base/1", b"\0\0+33698000005\0")], [b"+33698"]) == ["base/1: +33698"]


def known(**changes: Any) -> Known:
    return Known(5, ID, **({"refused": False, "recorded": True} | changes))


def told(status: int = 200, pressed_ns: int | None = None) -> Told:
    call = plan.Call(5, "a", 0, "refuses", 0.2, 2.0, "")
    return Told(call, [Attempt("a", "x@1", 0, status)], SECOND, pressed_ns, 9 * SECOND)


def receipt(**changes: Any) -> dict[str, Any]:
    fields = {"call_id": "x@1", "id": ID, "ended_at": "then", "decision": "allowed", "recording_id": ID}
    times = {"answered_at": "2026-11-24T22:20:00.000Z", "connected_at": "2026-11-24T22:20:02.000Z"}
    return fields | times | changes


def test_every_answered_call_has_one_receipt_and_who_talked_has_talked_until_the_host_was_hit() -> None:
    (one,), wrong = judging.receipts_of([told()], [receipt()])
    assert (one.talked_s, wrong) == (6, [])
    assert "0 receipts" in judging.receipts_of([told()], [])[1][0]
    assert "2 receipts" in judging.receipts_of([told()], [receipt(), receipt(id="other")])[1][0]
    assert "not complete" in judging.receipts_of([told()], [receipt(ended_at=None)])[1][0]
    assert judging.receipts_of([told(0)], [])[1] == []
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

    def wrong(one: Known, found: Found, **row: Any) -> list[str]:
        whole = {"id": ID, "status": "closed", "incomplete": False, "duration_s": 1.0} | row
        return judging.stores([one], Kept({ID: whole}, found))

    assert wrong(known(), there) == []
    for gone in ("refused", "deleted", "purged"):
        left = wrong(known(**{gone: True}), there, status="erased")
        assert len(left) == 3 and gone in left[0], left
    assert "held" in wrong(known(held=True), Found(), status="purged")[0]
    assert "nothing can be heard" in wrong(known(talked_s=0.5), Found())[0]
    # its BYE was lost, and what was recorded is the wait for its end
    assert wrong(known(talked_s=-0.4), Found()) == []
    assert "talked 3.0 s: failed" in wrong(known(talked_s=3), Found(), status="failed")[0]
    assert wrong(known(talked_s=3), there) == []
    assert "left open" in wrong(known(), there, status="open")[0]
    assert "in clear" in judging.stores([], Kept({}, Found(in_clear=["x"])))[0]


def test_what_no_row_names_is_found() -> None:
    there = [("a.json", "v1"), ("a.json", "v2"), ("b.json", "v3"), ("rows/x/1", "v4"), ("rows/x/2", "v5")]
    rows = [("a.json", "v2"), ("b.json", None)]
    assert judging.unnamed(there, rows, ["rows/x/2"]) == [
        *("no row names a.json v1", "no row names rows/x/1 v4")
    ]


def test_operators_are_in_one_call_each_and_rung_for_another_only_without_the_board() -> None:
    assert judging.operators({"desk0": [(0, 5), (5, 9)], "desk1": [(0, 9)]}) == []
    assert "desk0" in judging.operators({"desk0": [(0, 5), (4, 9)]})[0]
    assert judging.rung([5, 8], [(5, 6), (7, 9)]) == []
    assert judging.rung([4, 5, 10], [(5, 9)]) == ["2 times a phone in a call was rung for another"]
    away = "alert reason='the board of operators that all hosts share is away (x)"
    lines = [(1, "board_shared"), (2, away), (3, "ready"), (4, "board_shared"), (5, away)]
    agent = SimpleNamespace(started=True, child=SimpleNamespace(lines=lines))
    first, (since, until) = Host.without_board(cast(Host, SimpleNamespace(agent=agent)))
    assert first == (2, 4) and since == 5 < until


def test_a_host_that_drains_is_told_so_once() -> None:
    """A second signal ends it at once: where it is just ending, by that signal."""
    host = MagicMock(up=False)
    host.name = "c"
    host.agent.child.wait.return_value = 0
    site = SimpleNamespace(hosts={"c": host}, engines=MagicMock())
    drain = plan.Fault("drain", "c", 0, 0, False)
    going = Going(cast(Site, site), drain, 0.0, random.Random(1))
    going.end()
    assert going.wrong == [] and not host.agent.stop.called
    host.agent.child.signal.assert_called_once_with(SIGTERM)
    host.agent.child.wait.assert_called_once_with(DRAIN_S)


def test_a_round_is_the_same_whenever_it_is_drawn() -> None:
    drawn = [plan.draw(4, number) for number in range(200)]
    assert drawn == [plan.draw(4, number) for number in range(200)]
    assert {one.fault.kind for one in drawn} == set(plan.Kind.__args__)  # type: ignore[attr-defined]
