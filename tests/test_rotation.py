"""Who comes may listen, who leaves may not: for all that is kept, whatever interrupts it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention import archive as rotation
from retention.archive import Archive, rotate
from retention.erase import begin_purge
from retention.purge import Terms, purge
from retention.records import Recording
from retention.vault import Identity, KeysError, PublicKey
from retention.verify import verify
from tests.kept import CALLER, Paths, archive, bytes_under, receipt, recording
from tests.tampering import HOLD, TERMS

ANN, BEN, EVE = (
    Identity(bytes([number]) * 32, name) for number, name in ((1, "ann"), (2, "ben"), (3, "eve"))
)
SEALED = b"nobody reads this without its key"
LATE = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setattr(rotation, "BREATH_S", 0)
    return archive(tmp_path)


def seal(
    kept: Archive, minutes: int = 0, *, to: tuple[Identity, ...] = (ANN,), close: bool = True
) -> Recording:
    row = recording(minutes)
    kept.store.add_receipt(receipt(row))
    part = kept.open(row)
    kept.vault.create(row.id, keys(*to))
    part.write_bytes(SEALED)
    if not close:
        return row
    part.rename(Paths(kept).final(row.id, "sealed"))
    return kept.close(row)


def keys(*identities: Identity) -> list[PublicKey]:
    return [identity.public for identity in identities]


def reads_json(kept: Archive, id: str, identity: Identity) -> bool:
    sealed = json.loads(Paths(kept).metadata(id).read_bytes())["sealed"]
    try:
        return CALLER.encode() in kept.vault.unseal(id, sealed, identity)
    except KeysError:
        return False


def test_a_hold_that_the_metadata_alone_tells_stays(kept: Archive) -> None:
    """An older database came back, and nobody has called `rebuild` yet."""
    row = seal(kept)
    kept.change(replace(row, hold=HOLD))
    path = Paths(kept).metadata(row.id)
    told = path.read_bytes()
    kept.change(row)
    path.write_bytes(told)
    assert rotate(kept, ANN, keys(BEN)).sealed == (row.id,)
    assert (json.loads(path.read_bytes())["hold"] or {})["ground"] == "criminal"
    assert [stay.id for stay in purge(kept, LATE, TERMS).held] == [row.id]


def test_all_are_for_the_new_ones_with_the_key_they_had(kept: Archive) -> None:
    rows = [seal(kept, minutes) for minutes in range(7)]
    before = [kept.vault.key(row.id, ANN) for row in rows]
    steps: list[tuple[int, int]] = []
    done = rotate(kept, ANN, keys(BEN, EVE), lambda *step: steps.append(step))
    assert (done.sealed, done.already, done.failed) == (tuple(row.id for row in rows), 0, ())
    assert steps == [(number, 7) for number in range(1, 8)]
    assert [kept.vault.key(row.id, BEN) for row in rows] == before
    for row in rows:
        assert kept.vault.recipients(row.id) == (BEN.public, EVE.public)
        assert reads_json(kept, row.id, EVE) and not reads_json(kept, row.id, ANN)
        assert kept.store.recording(row.id) == row
    assert not verify(kept).problems


def test_twice_is_nothing_the_second_time_and_needs_no_identity(kept: Archive) -> None:
    seal(kept)
    rotate(kept, ANN, keys(BEN))
    before = bytes_under(Paths(kept).vault), kept.store.head()
    done = rotate(kept, EVE, keys(BEN))
    assert (done.sealed, done.already, done.failed) == ((), 1, ())
    assert (bytes_under(Paths(kept).vault), kept.store.head()) == before


def test_one_that_the_identity_does_not_open_stays_as_it_was(kept: Archive) -> None:
    mine, other = seal(kept), seal(kept, 1, to=(EVE,))
    before = Paths(kept).key(other.id).read_bytes()
    done = rotate(kept, ANN, keys(ANN, BEN))
    assert done.sealed == (mine.id,)
    ((id, problem),) = done.failed
    assert id == other.id and "is not for ann (" in problem and "accepted: eve (" in problem
    assert Paths(kept).key(other.id).read_bytes() == before and reads_json(kept, other.id, EVE)


def test_a_damaged_key_is_reported_and_the_others_go_on(kept: Archive) -> None:
    damaged, whole = seal(kept), seal(kept, 1)
    Paths(kept).key(damaged.id).write_text("{}")
    done = rotate(kept, ANN, keys(BEN))
    assert done.sealed == (whole.id,) and done.failed[0][0] == damaged.id


def test_a_call_that_goes_on_is_for_the_new_ones_once_it_is_kept(kept: Archive) -> None:
    row = seal(kept, close=False)
    assert rotate(kept, ANN, keys(BEN)).sealed == (row.id,)
    assert rotate(kept, ANN, keys(BEN)).already == 1
    Paths(kept).part(row.id).rename(Paths(kept).final(row.id, "sealed"))
    kept.close(row)
    assert reads_json(kept, row.id, BEN) and not reads_json(kept, row.id, ANN)


@pytest.mark.parametrize("step", ["resealed", "rewriting"])
def test_a_run_that_is_killed_is_finished_by_the_next(
    kept: Archive, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    rows = [seal(kept), seal(kept, 1)]

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(kept.vault if step == "resealed" else kept, step, kill)
        with pytest.raises(Killed):
            rotate(kept, ANN, keys(BEN))
    done = rotate(kept, ANN, keys(BEN))
    assert done.sealed == tuple(row.id for row in rows) and done.failed == ()
    for row in rows:
        assert reads_json(kept, row.id, BEN) and not reads_json(kept, row.id, ANN)


def test_it_brings_no_key_back_that_a_purge_has_taken(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [seal(kept), seal(kept, 1)]
    other = archive(Paths(kept).base)
    terms = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")
    listed = kept.vault.ids()
    monkeypatch.setattr(kept.vault, "ids", lambda: listed)
    purge(other, LATE, terms)
    done = rotate(kept, ANN, keys(BEN))
    assert (done.sealed, done.failed) == ((), ())
    assert not any(Paths(kept).key(row.id).exists() for row in rows)


def test_one_whose_purge_has_begun_is_left_alone(kept: Archive) -> None:
    """Its key is still there, and once it is gone, nothing may write it again."""
    row = seal(kept)
    begin_purge(kept, [row.id])
    before = Paths(kept).key(row.id).read_bytes()
    done = rotate(kept, ANN, keys(BEN))
    assert done.sealed == () and Paths(kept).key(row.id).read_bytes() == before


def test_a_key_without_a_row_goes_along(kept: Archive) -> None:
    id = recording(5).id
    kept.vault.create(id, keys(ANN))
    assert rotate(kept, ANN, keys(BEN)).sealed == (id,)
    assert kept.vault.recipients(id) == (BEN.public,)


def test_a_hold_survives(kept: Archive) -> None:
    row = seal(kept)
    hold = {
        "ground": "criminal",
        "reference": "PV 12",
        "by": "Petit",
        "approved_by": "Durand",
        "review": str((row.started_at + timedelta(days=30)).date()),
    }
    held = replace(row, hold=hold)
    kept.change(held)
    rotate(kept, ANN, keys(BEN))
    assert kept.store.recording(row.id) == held


def test_nothing_is_kept_in_clear_by_it(kept: Archive) -> None:
    seal(kept)
    rotate(kept, ANN, keys(BEN))
    assert CALLER.encode() not in bytes_under(Paths(kept).recordings) + bytes_under(Paths(kept).vault)


def test_an_empty_vault(kept: Archive) -> None:
    done = rotate(kept, ANN, keys(BEN))
    assert (done.sealed, done.already, done.failed) == ((), 0, ())
