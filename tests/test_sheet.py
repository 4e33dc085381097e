"""The page for operators: each sentence for some configuration, in both languages, on one sheet of A4."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipagent.text import LANGUAGES, template
from sipagent.text.papers import _statements, sheet
from tests.configured import CONTRACT, with_keys
from tests.configured import read as configured
from tests.office import Office
from tests.test_register import braces

MANY = str([f"sip:{200 + n}@pbx" for n in range(20)]).replace("'", '"')
OWN = with_keys("service", 'name = "<b>Allô</b> *Mairie*"\ndpo_contact = "dpo@ville.fr"', CONTRACT)
FULL = with_keys(
    "operators",
    f'transfer_targets = {MANY}\nstop_erases = false\nstop_code = "*1"\nrecord_code = "*4"',
    with_keys(
        "refusal",
        'in_call = "key+voice"',
        with_keys(
            "recording",
            'begin = "operator"\nwindow = [{ hours = "09:00-10:00", share = 1, begin = "bridge" }]',
            OWN,
        ),
    ),
)


def variants() -> Iterator[str]:
    yield CONTRACT
    yield OWN
    yield FULL
    yield with_keys("recording", 'begin = "operator"', CONTRACT)
    yield with_keys("recording", "enabled = false", with_keys("service", 'dpo_contact = ""', CONTRACT))


def test_each_sentence_is_said_for_some_configuration_in_both_languages() -> None:
    french, english = (template(f"sheet.{language}.txt") for language in LANGUAGES)
    assert [*map(braces, french.places)] == [*map(braces, english.places)]
    unsaid = {(name, how) for name, ways in french.places if name for how in ways}
    for text in variants():
        config = configured(text)
        unsaid -= {(one.name, one.how) for one in _statements(config)}
        for language in LANGUAGES:
            page = sheet(config, language)
            assert "{code" not in page and "|" not in page and "[" not in page
    assert unsaid == set()


def test_it_has_the_services_own_keys_and_names() -> None:
    page = sheet(configured(FULL), "en")
    assert "&lt;b&gt;Allô&lt;/b&gt; *Mairie*" in page and "dpo@ville.fr" in page
    assert "<td><code>*4</code></td>\n<td>begins the recording, or goes on with it" in page
    assert "<td><code>*1</code></td>\n<td>stops the recording; what there is of it is kept" in page
    assert "MAY REC" in page and "<code>200</code>" in page and "and others" in page
    silent = sheet(configured(with_keys("recording", "enabled = false", CONTRACT)), "en")
    assert "*5" not in re.sub(r"<tr>.*?Don’t record me.*?</tr>", "", silent, flags=re.DOTALL)


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Debian's chromium")
@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_one_sheet(tmp_path: Path, language: str) -> None:
    page, paper = tmp_path / "sheet.html", tmp_path / "sheet.pdf"
    page.write_text(sheet(configured(FULL), language), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        f"--user-data-dir={tmp_path / 'browser'}",
        f"--print-to-pdf={paper}",
    ]
    subprocess.run(["chromium", *options, page.as_uri()], check=True, capture_output=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) == 1


def test_the_command(office: Office) -> None:
    done = office.run("sheet", "--out", office.folder / "sheet.html", "--lang", "fr")
    assert done.code == 0 and '<html lang="fr">' in (office.folder / "sheet.html").read_text()
    assert "--force" in office.fails(1, "sheet", "--out", office.folder / "sheet.html")
