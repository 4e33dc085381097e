"""What judges the rounds of `tests.cluster`: it finds what is planted, and nothing where all is right."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import numpy as np
from nacl.public import PrivateKey, PublicKey, SealedBox

from media.recording.chunks import PartWriter, Sealer, create_part
from sipagent.softphone.rtp import RATE
from tests.cluster import judging
from tests.cluster.judging import Kept, Known
from tests.cluster.searching import Found, Place, search, words_in
from tests.cluster.sound import Marked

PRIVATE, KEY = bytes([7]) * 32, bytes([3]) * 32
ID, OTHER = "20261124T222000123-ha-w3-482913", "20261124T222000123-ha-w3-482914"


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
