"""A head that cannot be read where a database is made again: the chain says that the loss has no number."""

from pathlib import Path

from retention.rebuild import rebuild
from retention.rows.chain import read_head
from retention.verify import verify
from tests.kept import archive, keep, recording
from tests.test_rebuild import REBUILT, lost, segments


def test_where_the_head_was_damaged_too_the_chain_says_that_nobody_knows_how_much_is_lost(
    tmp_path: Path,
) -> None:
    kept = archive(tmp_path)
    row = keep(kept, recording())
    (tmp_path / "retention.head").write_text("damaged")
    again = lost(kept)
    assert rebuild(again).restored == [row.id]
    assert segments(again.store) == ["the database was lost", REBUILT]
    found = verify(again)
    assert [one.problem.partition(":")[0] for one in found.lost] == [
        "what is lost before it, if anything, has no number"
    ]
    assert [one.where for one in found.problems] == ["retention.head.damaged"]
    assert read_head(tmp_path / "retention.head") == again.store.head()


def test_a_database_whose_head_was_damaged_may_be_an_older_one(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    keep(kept, recording())
    (tmp_path / "retention.head").write_text("damaged")
    assert rebuild(kept).problems == []
    assert segments(kept.store) == ["a new database", REBUILT]
    assert len(verify(kept).lost) == 1
    rebuild(kept)
    assert len(segments(kept.store)) == 2
