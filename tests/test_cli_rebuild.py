"""`rebuild`: what comes back, and what it says did not."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.records import new_id
from tests.kept import SOUND, START, Paths
from tests.office import Office
from tests.sealing import PASSPHRASE, make_pair, make_sealed_office, sealed_call


def test_what_came_back_and_what_did_not(office: Office) -> None:
    rows = [office.call(timedelta(days=n)) for n in (200, 1)]
    review = (datetime.now(UTC) + timedelta(days=30)).date()
    hold = ("--ground", "criminal", "--reference", "41", "--by", "Durand", "--approved-by", "Petit")
    assert office.run("hold", rows[0].id, *hold, "--review", review).code == 0
    (office.folder / "retention.db").unlink()
    result = office.run("rebuild")
    assert result.code == 0 and f"restored  {rows[0].id}, on hold\n" in result.out
    assert f"restored  {rows[1].id}\n" in result.out and "2 restored, 0 were known." in result.out
    assert f"{rows[0].id}  {review}  criminal  41" in office.run("holds").out
    assert "rebuild" in [use.action for use in office.archive.store.accesses()]
    none: dict[str, object] = {key: [] for key in ("restored", "held", "completed", "repaired", "nameless")}
    assert json.loads(office.run("rebuild", "--json").out) == none | {"known": 2, "problems": []}
    stray = Paths(office.archive).part(new_id(START))
    stray.write_bytes(SOUND)
    result = office.run("rebuild")
    assert result.code == 1 and stray.name in result.out and "not recoverable" in result.out
    assert json.loads(office.run("rebuild", "--json").out)["problems"][0]["name"] == stray.name


def test_what_is_sealed_comes_back_with_an_identity_now_or_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    office = make_sealed_office(tmp_path, capsys)
    make_pair(office, "dpo", PASSPHRASE)
    row = sealed_call(office, ["recordings", "dpo"])
    (office.folder / "retention.db").unlink()
    named = ("rebuild", "--identity", office.folder / "keys" / "dpo.key")
    assert "has a passphrase; accepted: --passphrase-file" in office.fails(1, *named)
    assert not (office.folder / "retention.db").exists()
    result = office.run("rebuild")
    assert result.code == 1 and f"restored  {row.id}" in result.out
    assert "Of 1 recording it is still sealed who called and who answered" in result.out
    assert office.archive.store.recording(row.id).caller is None
    assert json.loads(office.run("rebuild", "--json").out)["nameless"] == [row.id]
    (office.folder / "passphrase").write_text(PASSPHRASE)
    opened = office.run(*named, "--passphrase-file", office.folder / "passphrase")
    assert opened.code == 0 and f"completed {row.id}" in opened.out
    assert office.archive.store.recording(row.id).to_json() == row.to_json()
    details = [use.detail for use in office.archive.store.accesses()]
    assert details[0] == "1 recording restored, 1 still sealed as to whom they are of, 0 problems"
    assert details[-1] == "0 recordings restored, 1 completed, 0 problems"
