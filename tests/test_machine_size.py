"""The table of machines is what its own figures make."""

import re

import pytest

from tests.test_docs import text_of

MB_A_MINUTE = 1.9
RATE, CHANNELS, BYTES = 8000, 2, 2


def figures(page: str) -> list[list[float]]:
    """The first table, without units."""
    text = text_of(page).replace("\u202f", "").replace("\u00a0", " ")
    rows = re.findall(r"^\| (\d+ \|.*) \|$", text, re.MULTILINE)
    return [[float(re.sub(r"[^\d.]", "", cell.replace(",", ""))) for cell in row.split("|")] for row in rows]


@pytest.mark.parametrize("page", ["docs/en/machine-size.md", "docs/fr/dimensionnement.md"])
def test_the_disk_of_a_machine_is_what_its_figures_make(page: str) -> None:
    """Four hours of each of 21 days, six months; sealed sound as it is: 16 bit, two channels."""
    assert round(RATE * CHANNELS * BYTES * 60 / 1e6, 1) == MB_A_MINUTE
    minutes = 4 * 60 * 21 * 6
    rows = figures(page)
    assert [row[0] for row in rows] == [10, 30, 100]
    for lines, cores, memory, some, every in rows:
        gb = lines * minutes * MB_A_MINUTE / 1000
        assert every == pytest.approx(gb, abs=1) and some == pytest.approx(gb / 10, abs=1)
        assert cores >= 2 and lines * 0.58 / 60 <= cores / 2  # half of it is free: sound needs a core in time
        assert lines * 0.0113 + 0.7 <= memory  # GB: 11.3 MB a call, supervisor and Kamailio, Debian
