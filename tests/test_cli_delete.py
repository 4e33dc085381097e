from pathlib import Path

import pytest

from retention.recording import Status, new_id
from tests.kept import CALLER, START, recording
from tests.office import Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def test_delete_removes_one_and_its_trace_stays(office: Office) -> None:
    row, other = office.call(), office.call()
    result = office.run("delete", row.id, "--reason", "request of 06 12345678", "--by", "Durand")
    assert (result.code, result.out) == (0, f"{row.id}: deleted\n")
    store = office.archive.store
    assert store.recording(row.id).status is Status.PURGED
    assert store.receipt(row.id).caller is None and store.receipt(other.id).caller == CALLER
    (use,) = store.accesses(row.id)
    assert (use.action, use.by, use.detail) == ("delete", "Durand", "request of 06 …")
    assert office.archive.file(other.id) is not None
    line = office.fails(1, "delete", row.id, "--reason", "again", "--by", "Durand")
    assert "it is already purged (" in line


def test_what_delete_does_not_do(office: Office) -> None:
    assert "no such id" in office.fails(1, "delete", new_id(START), "--reason", "r", "--by", "Durand")
    row = recording()
    office.archive.open(row)
    assert "still in progress" in office.fails(1, "delete", row.id, "--reason", "r", "--by", "Durand")
    assert "--reason" in office.fails(2, "delete", row.id, "--by", "Durand")
    assert "--reason" in office.fails(2, "delete", row.id, "--reason", " ", "--by", "Durand")
