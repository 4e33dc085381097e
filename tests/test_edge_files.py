"""What the edge keeps on the disk: who may read it, and when it goes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipagent.edge.files import TABLES, begin_anew, forget_dialogs, kept_tokens, places, write_files
from sipagent.edge.plan import HopTokens, new_tokens
from tests.test_edge import planned

pytestmark = pytest.mark.live  # it copies the tables that Kamailio comes with


@pytest.fixture(autouse=True)
def careless() -> Iterator[None]:
    """Whatever the administrator's umask is."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}


def test_what_names_callers_or_holds_a_secret_is_for_nobody_else(tmp_path: Path) -> None:
    where = places(tmp_path / "edge")
    write_files(planned(), where)
    assert modes(where.directory) == {0o600}
    assert where.directory.stat().st_mode & 0o777 == where.dialogs.stat().st_mode & 0o777 == 0o700


def test_dialogs_that_others_could_read_are_for_nobody_else_any_more(tmp_path: Path) -> None:
    where = places(tmp_path / "edge")
    write_files(planned(), where)
    (where.dialogs / "dialog").write_text("a call\n")
    (where.dialogs / "dialog").chmod(0o644)
    write_files(planned(), where)
    assert (where.dialogs / "dialog").read_text() == "a call\n"
    assert modes(where.dialogs) == {0o600}


def test_dialogs_go_that_have_lain_there_too_long(tmp_path: Path) -> None:
    """As receipts lose their persons: what has been written since stays."""
    where = places(tmp_path / "edge")
    write_files(planned(), where)
    old, unread = where.dialogs / "dialog", where.dialogs / "dialog.unread"
    unread.write_text("a call\n")
    for path in (old, unread):
        os.utime(path, (1000, 1000))
    assert forget_dialogs(where.directory, before=1000) == ()
    assert {*forget_dialogs(where.directory, before=1001)} == {old, unread}
    assert sorted(path.name for path in where.dialogs.iterdir()) == ["dialog_vars", "version"]
    assert forget_dialogs(tmp_path / "nowhere", before=1001) == ()


def test_an_edge_that_begins_anew_has_neither_dialogs_nor_the_same_secret(tmp_path: Path) -> None:
    where = places(tmp_path / "edge")
    write_files(planned(), where)
    tokens, mask = kept_tokens(where), (where.directory / "mask.key").read_text()
    begin_anew(where)
    assert not [*where.dialogs.iterdir()]
    write_files(planned(), where)
    assert sorted(path.name for path in where.dialogs.iterdir()) == sorted(TABLES)
    assert kept_tokens(where) != tokens
    assert (where.directory / "mask.key").read_text() == mask
    begin_anew(places(tmp_path / "nowhere"))


# --- the secret ---


@pytest.mark.parametrize("wrong", ["", "0" * 31, "0" * 33, "g" * 32, "A" * 32, "0" * 31 + "\n"])
def test_what_is_no_secret_is_none(wrong: str) -> None:
    with pytest.raises(ValueError, match="not 32 hexadecimal digits"):
        HopTokens(wrong)


def test_each_way_has_a_secret_of_its_own() -> None:
    """And neither is in a representation, which a log could tell."""
    tokens = new_tokens()
    assert tokens != new_tokens()
    assert {len(tokens.to_edge), len(tokens.from_edge)} == {32}
    assert tokens.to_edge != tokens.from_edge != HopTokens("0" * 32).from_edge
    assert tokens.secret not in repr(tokens)
