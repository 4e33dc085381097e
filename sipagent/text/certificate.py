"""The certificate of a deletion: a page of text to give to a person, in French or English."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from retention.erase import Deletion
from retention.records import Status
from sipagent.config.identity import printable
from sipagent.config.tables import ServiceTable
from sipagent.languages.typography import set_french
from sipagent.text import Fact, language_of_papers, template
from sipagent.text.statistics_words import StatisticsWords

_PATH = 400  # characters


def certificate(done: Deletion, service: ServiceTable) -> str:
    """The text: lines of 78 characters, except values, which are not broken; times in the service's zone."""
    words = StatisticsWords(language_of_papers(service.language))
    said = template(f"certificate.{words.language}.txt").said(_facts(done, service, words))
    texts = ((set_french(text) if words.french else text, values or {}) for text, values in said)
    return "".join(f"{text.format(values.get(''), **values)}\n" for text, values in texts)


def _facts(done: Deletion, service: ServiceTable, words: StatisticsWords) -> Iterator[Fact[dict[str, Any]]]:
    zone = service.timezone.key

    def second(at: datetime) -> str:
        return words.second(at.astimezone(service.timezone))

    row = done.recording
    values = {
        "controller": service.controller,
        "contact": service.controller_contact,
        "dpo": service.dpo_contact,
        "service": service.name,
        "call": done.id,
        "began": f"{second(done.started_at)} ({zone})",
        "length": words.length(row.duration_s, whole=True) if row and row.duration_s else None,
        "at": f"{second(done.deleted_at)} ({zone})",
        "by": done.by,
        "reason": done.reason,
        "notes": done.notes,
    }
    for name, value in values.items():
        if value:
            yield name, "one" if value == 1 else "", {"": value}
    if done.receipt:
        yield "receipt", "", {}
    if row is None or row.status in (Status.ERASED, Status.FAILED):
        yield "sound", "none", {}
    else:
        before = row.purged_at
        yield "sound", "before" if before else "", {"at": before and second(before), "zone": zone}
        if row.sha256 is not None:
            yield "file", "", {"size": words.size(row.bytes or 0), "sha256": row.sha256}
    # what stays, by the rows: `Receipt.anonymous`, `Recording.tombstone`, notes and uses without names
    if row is not None and row.sha256 is not None:
        yield "sound_stays", "", {}
    if done.notes:
        yield "notes_stay", "", {}
    downloaded = any(copy.elsewhere for copy in done.copies)
    yield "copies", "download" if downloaded else "" if done.copies else "none", {}
    for copy in done.copies:
        how = "_".join(filter(None, ("download" if copy.elsewhere else "", "by" if copy.by else "")))
        path, at = printable(copy.path, _PATH), f"{second(copy.at)} ({zone})"
        yield "copy", how, {"path": path, "at": at, "by": copy.by}
    yield "chain", "", {"seq": done.chain.seq, "hash": done.chain.hash}
