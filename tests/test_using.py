"""No sound without its line in the trace, and no line without its sound; what is refused leaves one, too."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from retention.archive import Archive
from retention.records import Access, Recording
from retention.use import UseRefused, allowed, begin_use
from retention.verify import verify
from tests.kept import START, keep, recording, remove

PURPOSES = ("statistics", "quality")
USE = Access(at=START, action="play", purpose="quality", by="M. Durand", login="durand", via="web")


def begin(
    archive: Archive, row: Recording, use: Access = USE, obstacle: Callable[[], str | None] = lambda: None
) -> int:
    return begin_use(archive, row, use, PURPOSES, row.expires_at, obstacle=obstacle)


def test_a_use_is_in_the_trace_with_its_number(archive: Archive) -> None:
    row = keep(archive, recording())
    number = begin(archive, row, replace(USE, detail="both"))
    assert archive.store.access(number) == replace(USE, recording_id=row.id, detail="both")
    assert verify(archive).problems == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"purpose": None}, "a purpose is needed; accepted: statistics, quality, access_request"),
        ({"purpose": "for Jane Roe"}, "purpose 'for Jane Roe' is not listed"),
        ({"by": " "}, "the name of who uses it is needed"),
        ({"at": recording().expires_at + timedelta(days=1)}, "awaits the purge"),
    ],
)
def test_a_refusal_is_in_the_trace_and_its_purpose_in_the_detail(
    archive: Archive, changes: dict[str, object], said: str
) -> None:
    row = keep(archive, recording())
    with pytest.raises(UseRefused) as refusal:
        begin(archive, row, replace(USE, **changes))  # type: ignore[arg-type]
    (use,) = archive.store.accesses(row.id)
    assert said in str(refusal.value) and (use.outcome, use.detail) == ("refused", str(refusal.value))
    assert use.purpose in ("quality", None) and (use.login, use.via) == ("durand", "web")


def test_what_else_is_in_its_way_refuses_it(archive: Archive) -> None:
    row = keep(archive, recording())
    with pytest.raises(UseRefused, match="no key"):
        begin(archive, row, obstacle=lambda: "no key of yours opens it")
    assert [use.outcome for use in archive.store.accesses(row.id)] == ["refused"]


def test_a_purge_that_comes_first_leaves_no_use(archive: Archive) -> None:
    row = keep(archive, recording())

    def purged() -> None:
        assert remove(archive, row.id, row.expires_at)

    with pytest.raises(UseRefused, match="already purged"):
        begin(archive, row, obstacle=purged)
    assert [use.outcome for use in archive.store.accesses(row.id)] == ["refused"]


def test_nothing_is_told_of_a_use_that_is_allowed_until_it_begins(archive: Archive) -> None:
    row = keep(archive, recording())
    use = allowed(archive, row, USE, PURPOSES, row.expires_at)
    assert archive.store.accesses(row.id) == []
    assert use.begin("begun") < use.tell("failed", "no sound card")
    assert [one.outcome for one in archive.store.accesses(row.id)] == ["begun", "failed"]
    remove(archive, row.id, row.expires_at)
    with pytest.raises(UseRefused, match="already purged"):
        use.begin()
    assert len(archive.store.accesses(row.id)) == 2
