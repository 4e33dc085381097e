"""The package that a person gets: a letter to read, the same for programs, and the sounds beside them.

The sounds are put in by the browser of who answers: there alone is the key that opens them.
"""

import io
import json
import re
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from retention.recording import Json, to_text
from retention.storage.keys import KeysError, read_public
from sipagent.languages.choice import LANGUAGES
from sipagent.languages.spoken import answering, ngettext
from sipagent.stats.words import StatisticsWords
from sipagent.web.persons.kept import PersonCall, story, to_json
from sipagent.web.persons.words import in_words, word
from sipagent.web.site import Site
from sipagent.web.templating import written

LETTER, DATA = "letter.html", "data.json"
_PERIOD = re.compile(r"(\d+) (day|week|month|year)s?")
FORMAT = "sipagent-access-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What is answered: under which `reference` of the request, with whose voice (`channel`) and `names`.

    `sounds`: the ids whose sound is beside the letter.
    """

    calls: Sequence[PersonCall]
    reference: str
    channel: str
    names: bool
    made: datetime
    sounds: Collection[str] = ()

    @property
    def name(self) -> str:
        """Of its file."""
        told = re.sub(r"[^A-Za-z0-9._-]+", "-", self.reference).strip("-._")
        return f"access-{told or 'request'}.zip"

    def sound_of(self, id: str) -> str | None:
        """The file of a call's sound in it."""
        return f"sounds/{id}.wav" if id in self.sounds else None


def letter(site: Site, package: Package) -> str:
    """A page of its own, in the service's language: it loads nothing, and runs nothing."""
    service = site.config.service
    language = service.language if service.language in LANGUAGES else "en"
    words = StatisticsWords(language)
    with answering(language):
        return written(
            "letter.html",
            service=service.name,
            when=lambda at: words.second(site.local(at)),
            package=package,
            config=site.config,
            story=story,
            word=word,
            in_words=in_words,
            recipients=recipients_of(site),
            period=period_in_words,
            data=DATA,
        )


def data(site: Site, package: Package) -> Json:
    """What the letter says, for programs."""
    service, kept = site.config.service, site.config.retention
    return {
        "format": FORMAT,
        "made_at": to_text(package.made),
        "request": package.reference,
        "service": service.name,
        "controller": service.controller,
        "controller_contact": service.controller_contact,
        "dpo_contact": service.dpo_contact,
        "legal_basis": service.legal_basis,
        "purposes": list(kept.purposes),
        "periods": {
            "recordings": kept.period,
            "receipts": kept.receipts_period,
            "analyses": kept.analysis_period,
        },
        "voices": package.channel,
        "calls": [
            to_json(call, names=package.names, sound=package.sound_of(call.id)) for call in package.calls
        ],
    }


def parts(site: Site, package: Package) -> dict[str, str]:
    """What the server can put into it: texts by the names of their files."""
    return {
        LETTER: letter(site, package),
        DATA: json.dumps(data(site, package), indent=2, ensure_ascii=False) + "\n",
    }


def zipped(files: dict[str, str], made: datetime) -> bytes:
    """A ZIP of these texts."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, made.timetuple()[:6])
            entry.external_attr = 0o600 << 16
            file.writestr(entry, text, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def recipients_of(site: Site) -> list[str]:
    """Who can listen: the names of their keys; empty where recordings are in clear, or keys are not read."""
    try:
        return [str(read_public(path)) for path in site.config.recording.recipients]
    except KeysError:
        return []


def period_in_words(period: str) -> str:
    """`6 months`, `6 mois`."""
    found = _PERIOD.fullmatch(period.strip())
    if found is None:
        return period
    n = int(found[1])
    said = {
        "day": ngettext("{n} day", "{n} days", n),
        "week": ngettext("{n} week", "{n} weeks", n),
        "month": ngettext("{n} month", "{n} months", n),
        "year": ngettext("{n} year", "{n} years", n),
    }
    return said[found[2]].format(n=n)
