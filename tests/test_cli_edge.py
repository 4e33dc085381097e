"""`sipagent edge`: Kamailio's configuration for those who run their own."""

import pytest

from sipagent.edge.files import kept_tokens, places
from tests.office import Office


def test_the_configuration_is_printed_and_nothing_is_written(office: Office) -> None:
    before = sorted(office.folder.rglob("*"))
    printed = office.run("edge")
    assert printed.code == 0 and printed.out.startswith("#!KAMAILIO\n")
    assert f'"list_file", "{office.folder}/edge/workers.list"' in printed.out
    assert sorted(office.folder.rglob("*")) == before


@pytest.mark.live
def test_it_is_written_with_all_that_it_reads(office: Office) -> None:
    there = office.folder / "own"
    assert office.run("edge", "--write", str(there)).code == 0
    assert {path.name for path in there.iterdir()} == {
        *("kamailio.cfg", "workers.list", "sources.list", "tls.cfg", "dialogs", "mask.key")
    }
    assert str(there / "sources.list") in (there / "kamailio.cfg").read_text()
    assert (there / "workers.list").read_text().endswith(" 0\n"), "nobody would activate them"
    kept = (there / "mask.key").read_text()
    office.run("edge", "--write", str(there))
    assert (there / "mask.key").read_text() == kept, "dialogs in progress would be lost"
    assert (there / "kamailio.cfg").stat().st_mode & 0o077 == 0, "it holds the key"


@pytest.mark.live
def test_the_secret_of_somebodys_own_kamailio_is_the_agents(office: Office) -> None:
    """It is kept beside the database, wherever the configuration is written, and stays."""
    tokens = kept_tokens(places(office.folder / "edge"))
    for there in (office.folder / "own", office.folder / "other"):
        office.run("edge", "--write", str(there))
        text = (there / "kamailio.cfg").read_text()
        assert tokens.to_edge in text and tokens.from_edge in text
        assert tokens.secret not in office.run("edge").out
