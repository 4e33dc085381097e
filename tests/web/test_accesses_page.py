"""The page with every use: for who answers for it, newest first, a page at a time."""

import re
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest

from retention.records import Access
from sipagent.web.rights import Role
from tests.web.conftest import Asking

HOSTILE = '"><script>alert(1)</script>\u202e'
AT = datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.mark.parametrize("role", Role)
def test_it_is_for_officers(asking: Asking, role: Role) -> None:
    asking.login(role)
    status = HTTPStatus.OK if role is Role.OFFICER else HTTPStatus.FORBIDDEN
    assert asking.client.get("/accesses").status_code == status


def test_the_newest_come_first_a_page_at_a_time(asking: Asking) -> None:
    store = asking.site.store
    with store.write():
        for n in range(120):
            store.add_access(
                Access(at=AT + timedelta(seconds=n), action="play", by=f"person {n}", login="x", via="web")
            )
    asking.login(Role.OFFICER)
    seen: list[int] = []
    path: str | None = "/accesses"
    while path is not None:
        text = asking.client.get(path).text
        seen += map(int, re.findall(r"person (\d+)<", text))
        found = re.search(r'rel="next" href="([^"]*)"', text)
        path = found and found[1]
    assert seen == list(range(119, -1, -1))
    assert "x (web)" in text


def test_refusals_and_hostile_texts(asking: Asking) -> None:
    row = Access(
        at=AT,
        action=HOSTILE,
        by=HOSTILE,
        reference=HOSTILE,
        detail=HOSTILE,
        outcome="refused",
        purpose=HOSTILE,
    )
    asking.site.store.add_access(row)
    asking.login(Role.OFFICER, language="fr")
    text = asking.client.get("/accesses").text
    assert "<script>alert" not in text and "\u202e" not in text and "refusé" in text
    assert "style=" not in text and "<style" not in text


@pytest.mark.parametrize("after", ["x", "-1", "1" * 30, "٣", HOSTILE])
def test_what_is_no_number_is_said(asking: Asking, after: str) -> None:
    asking.login(Role.OFFICER)
    answer = asking.client.get("/accesses", params={"after": after})
    assert answer.status_code == HTTPStatus.BAD_REQUEST and "no number" in answer.text
