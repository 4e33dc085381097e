"""Papers that an office files or gives away: templates, how French is set, numbers and dates."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import sipagent.text as templates
from retention.erase import Deletion, RemovedRecording
from retention.records import Status
from retention.rows.chain import ChainHead
from retention.use import KnownCopy
from sipagent.languages.typography import set_french
from sipagent.text import FOLDER, template
from sipagent.text.papers import certificate
from tests.configured import CONTRACT, read
from tests.kept import recording

AT = datetime(2026, 11, 24, 22, 20, 5, tzinfo=UTC)
BREAKS = re.compile(r" [;?!%»]| :(?!\S)|« |\S[;?!»](?<![\u00a0\u202f].)|\S:(?= )|\w'\w")


def ill_set(text: str) -> list[str]:
    """The places in a French text where a line could end before a sign, or which are set as English is.

    Code does not count, nor the comments that an entry is found by.
    """
    prose = re.sub(r"(`+).+?\1|<!--.*?-->", "x", text)
    return [prose[max(0, found.start() - 20) : found.end() + 20] for found in BREAKS.finditer(prose)]


@pytest.mark.parametrize(
    ("plain", "as_set"),
    [
        ("oui : non ; quoi ?", "oui\u00a0: non\u202f; quoi\u202f?"),
        ("« là » 5 %", "«\u00a0là\u00a0» 5\u202f%"),
        ("`a : b`, ``c ` d ;``", "`a : b`, ``c ` d ;``"),
        ("« `a` »", "«\u00a0`a`\u00a0»"),
        ("10:30, :x", "10:30, :x"),
    ],
)
def test_signs_get_spaces_that_do_not_break(plain: str, as_set: str) -> None:
    assert set_french(plain) == set_french(as_set) == as_set
    assert ill_set(as_set) == [] and bool(ill_set(plain)) is (plain != as_set)


def test_a_template_says_what_is_stated_in_its_own_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "name: a: b\n---\n# Title\n\n[x] x {}\ngoes on\n[x/other] other\n[] always\n[y] y\n\nend\n"
    (tmp_path / "paper.txt").write_text(text)
    monkeypatch.setattr(templates, "FOLDER", tmp_path)
    made = template("paper.txt")
    assert made.words == {"name": "a: b"}
    stated = [("y", "", 1), ("x", "other", 2), ("x", "", 3), ("x", "unknown", 4)]
    said = [("other", 2), ("x {}\ngoes on", 3), ("always", None), ("y", 1)]
    assert [*made.said(stated)] == [("# Title", None), ("", None), *said, ("", None), ("end", None)]


@pytest.mark.parametrize("paper", ["certificate", "register", "statistics"])
def test_both_languages_have_the_same_and_french_is_set_as_french_is(paper: str) -> None:
    french, english = (template(next(FOLDER.glob(f"{paper}.{language}.*")).name) for language in ("fr", "en"))
    assert [(name, [*ways]) for name, ways in french.places] == [
        (name, [*ways]) for name, ways in english.places
    ]
    assert paper == "register" or french.words.keys() == english.words.keys()
    texts = [text for _, ways in french.places for text in ways.values()]
    for text in (*texts, *french.words.values()):
        assert ill_set(set_french(re.sub(r"\{[^}]*\}", "x", text))) == []


# --- the certificate of a deletion ---

COPY = KnownCopy(path="/srv/a.wav", at=AT, by="Petit")
WAS = RemovedRecording.of(recording(duration_s=75.0, sha256="ab" * 32, bytes=81_234))
DONE = Deletion(
    id="20261124T222005Z-1f9e-482913",
    deleted_at=AT,
    by="Durand",
    reason="demande 2026-118",
    started_at=AT,
    recording=WAS,
    receipt=True,
    notes=2,
    copies=(COPY,),
    chain=ChainHead(seq=12, hash="ef" * 32),
)
FRENCH = f"""\
ATTESTATION D’EFFACEMENT

Responsable du traitement            Communauté d'agglomération du Saint-Quentinois
Contact                              …
Délégué à la protection des données  dpo@example.org
Service                              Agglo J'écoute
Référence de l’appel                 20261124T222005Z-1f9e-482913
Date de l’appel                      24 novembre 2026 à 23 h 20 min 05 s (Europe/Paris)
Durée                                75 s
Effacé le                            24 novembre 2026 à 23 h 20 min 05 s (Europe/Paris)
Effacé par                           Durand
Motif                                demande 2026-118

Ce qui a été effacé
- L’enregistrement sonore, sa clé s’il était chiffré, et la fiche qui
  l’accompagnait.
  Fichier de 81,2 ko, SHA-256 :
  {"ab" * 32}
- Dans le reçu de l’appel : le numéro de l’appelant, l’opérateur,
  l’identifiant technique, les mots reconnus, les événements.
- Le texte des 2 fiches d’analyse.

Ce qui reste
- De l’appel : sa référence, le moment exact de son début, du décroché, de la
  mise en relation et de la fin, le numéro composé, l’issue de l’appel, et ce
  qui a été décidé de son enregistrement.
- De l’enregistrement : sa durée, ses pauses, l’annonce entendue, la taille et
  l’empreinte du fichier effacé.
- Des fiches d’analyse : leur date.
- Dans la trace des usages : cet effacement et ce qui l’a précédé ; pendant un
  temps aussi, le nom des personnes qui ont agi et le motif qu’elles ont
  donné.
Ni le numéro ni la voix de la personne qui a appelé n’en font partie.
Quiconque détient d’autres traces de ce moment et de ce numéro composé, comme
un opérateur de télécommunications, peut encore savoir qui a appelé.

Copies exportées
Ces copies restent à effacer là où elles sont :
- /srv/a.wav, exportée le 24 novembre 2026 à 23 h 20 min 05 s (Europe/Paris) par Petit

Preuve
Écriture n° 12 de la chaîne du service, SHA-256 :
{"ef" * 32}

Signature :
"""


def paper(language: str = "en", **changes: Any) -> str:
    service = read(CONTRACT).service.model_copy(update={"language": language})
    return re.sub("[\u00a0\u202f]", " ", certificate(replace(DONE, **changes), service))


def test_the_certificate_in_french_to_the_letter() -> None:
    assert paper("fr") == FRENCH


@pytest.mark.parametrize(
    ("changes", "there", "absent"),
    [
        ({"notes": 1}, "- The text of the analysis.", "The text of the 2"),
        ({"notes": 0}, "What stays", "analys"),
        ({"receipt": False}, "What stays", "In the receipt"),
        ({"copies": ()}, "None is known to the service.", "These copies"),
        ({"copies": (replace(COPY, by=None),)}, "- /srv/a.wav, exported on 2026-11-24 23:20:05", "Petit"),
        ({"copies": (replace(COPY, path="a.wav"),)}, "- a.wav, downloaded on", "exported on"),
        ({"copies": (replace(COPY, path="a.wav"),)}, "cannot know whether it still exists:", "still exist:"),
        ({"recording": None}, "No sound of this call was kept.", "Of the recording"),
        ({"recording": replace(WAS, status=Status.ERASED)}, "No sound of this call was kept.", "its key"),
        (
            {"recording": replace(WAS, purged_at=AT)},
            "had been deleted before, on 2026-11-24 23:20:05\n  (Europe/Paris).",
            "its key",
        ),
    ],
)
def test_the_certificate_says_what_was_done(changes: dict[str, Any], there: str, absent: str) -> None:
    text = paper(**changes)
    assert there in text and absent not in text
    assert all(len(line) <= 78 or line.startswith("- /srv") for line in text.splitlines())
