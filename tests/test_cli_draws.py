"""`sipagent draws`: an auditor's command."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from retention.files import Places
from retention.records import Event, Receipt, due_date, new_id
from sipagent.cli.program import now
from sipagent.config.sampling import Seed, draw, keep_seed
from tests.office import Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def seed_of(office: Office) -> Path:
    return Places(office.folder / "retention.db").seed


def keep(
    office: Office, seed: Seed, count: int, share: float = 0.5, ago: timedelta = timedelta(hours=1)
) -> list[str]:
    """Calls that were drawn, as the agent leaves them; their ids."""
    ids = []
    with office.archive.store as store:
        for _ in range(count):
            at = now() - ago
            ids.append(id := new_id(at))
            drawing = draw(seed, id, share)
            store.add_receipt(
                Receipt(
                    id=id,
                    call_id=f"call-{id}",
                    started_at=at,
                    ended_at=at,
                    outcome="abandoned",
                    decision="undecided" if drawing.drawn else "not_allowed",
                    decided_by=None if drawing.drawn else "sampling",
                    events=(Event(at=at, what=str(drawing), by="agent"),),
                    expires_at=due_date(at, "6 months"),
                )
            )
    return ids


def test_every_draw_is_repeated(office: Office) -> None:
    seed = keep_seed(seed_of(office))
    ids = keep(office, seed, 12)
    drawn = sum(draw(seed, id, 0.5).drawn for id in ids)
    result = office.run("draws", "--json")
    assert result.code == 0
    assert json.loads(result.out) == {
        "since": None,
        "until": None,
        "seed": seed.name,
        "calls": 12,
        "drawn": drawn,
        "shares": [{"share": 0.5, "calls": 12, "drawn": drawn, "expected": 6.0}],
        "undrawn": 0,
        "forgotten": 0,
        "elsewhere": 0,
        "wrong": [],
    }
    lines = [line.split() for line in office.run("draws").out.splitlines()]
    assert lines[:2] == [["share", "calls", "drawn", "expected"], ["0.5", "12", str(drawn), "6.0"]]
    assert " ".join(lines[-1]) == f"12 draws, seed {seed.name}"


def test_only_the_period_counts(office: Office) -> None:
    seed = keep_seed(seed_of(office))
    keep(office, seed, 3, ago=timedelta(days=10))
    keep(office, seed, 2)
    assert json.loads(office.run("draws", "--since", "2d", "--json").out)["calls"] == 2
    assert json.loads(office.run("draws", "--until", "2d", "--json").out)["calls"] == 3
    assert "--since: 'soon' is not a moment" in office.fails(2, "draws", "--since", "soon")


def test_a_draw_that_is_another_than_the_seed_says(office: Office) -> None:
    seed = keep_seed(seed_of(office))
    keep(office, seed, 3)
    (forged,) = keep(office, Seed(b"o" * 32), 1)
    result = office.run("draws")
    assert result.code == 1
    assert f"{forged}  drawn with the seed" in result.out
    assert result.err == f"sipagent: 1 draw cannot be confirmed, beginning with {forged}\n"
    told = json.loads(office.run("draws", "--json").out)
    assert (told["calls"], [wrong["id"] for wrong in told["wrong"]]) == (4, [forged])


def test_a_recording_that_nobody_drew(office: Office) -> None:
    keep_seed(seed_of(office))
    row = office.call()
    result = office.run("draws")
    assert (result.code, row.id in result.out) == (1, True)


def test_an_auditor_brings_a_copy_of_the_seed(office: Office, tmp_path: Path) -> None:
    seed = keep_seed(seed_of(office))
    keep(office, seed, 2)
    copy = tmp_path / "copy.seed"
    shutil.move(seed_of(office), copy)
    assert office.run("draws").code == 1
    assert office.run("draws", "--seed", copy).code == 0
    keep_seed(seed_of(office))
    assert office.run("draws").code == 1
    assert "absent.seed: No such file" in office.fails(1, "draws", "--seed", tmp_path / "absent.seed")


def test_a_damaged_seed_is_one_line(office: Office) -> None:
    seed_of(office).write_text("sipagent-seed-1 00\n")
    assert "retention.seed is damaged" in office.fails(1, "draws")


def test_before_the_first_call_there_is_nothing_to_confirm(office: Office) -> None:
    result = office.run("draws")
    assert (result.code, result.out) == (0, "0 draws, no seed yet\n")
    assert not seed_of(office).exists()
    assert json.loads(office.run("draws", "--json").out)["shares"] == []
