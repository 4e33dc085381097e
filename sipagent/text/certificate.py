"""The certificate of a deletion: a page of text to give to a person, in French or English."""

from collections.abc import Iterator
from datetime import datetime
from textwrap import wrap

from retention.erase import Deletion
from retention.records import Recording, Status
from retention.use import Copy
from sipagent.config.identity import printable
from sipagent.config.tables import ServiceTable
from sipagent.languages.typography import set_french
from sipagent.text.statistics_words import StatisticsWords

_WIDTH = 78
_PATH = 400  # characters

_WORDS: dict[str, tuple[str, str]] = {
    "title": ("ATTESTATION D’EFFACEMENT", "CERTIFICATE OF DELETION"),
    "controller": ("Responsable du traitement", "Controller"),
    "contact": ("Contact", "Contact"),
    "dpo": ("Délégué à la protection des données", "Data protection officer"),
    "service": ("Service", "Service"),
    "call": ("Référence de l’appel", "Reference of the call"),
    "began": ("Date de l’appel", "Date of the call"),
    "length": ("Durée", "Length"),
    "at": ("Effacé le", "Deleted on"),
    "by": ("Effacé par", "By"),
    "reason": ("Motif", "Reason"),
    "gone": ("Ce qui a été effacé", "What was deleted"),
    "stays": ("Ce qui reste", "What stays"),
    "copies": ("Copies exportées", "Exported copies"),
    "proof": ("Preuve", "Proof"),
    "signature": ("Signature :", "Signature:"),
    "sound": (
        "L’enregistrement sonore, sa clé s’il était chiffré, et la fiche qui l’accompagnait.",
        "The sound recording, its key if it was sealed, and the metadata beside it.",
    ),
    "sound_before": (
        "L’enregistrement sonore avait déjà été effacé le {at}.",
        "The sound recording had been deleted before, on {at}.",
    ),
    "no_sound": (
        "Aucun son de cet appel n’était conservé.",
        "No sound of this call was kept.",
    ),
    "file": ("Fichier de {size}, SHA-256 :", "A file of {size}, SHA-256:"),
    "receipt": (
        "Dans le reçu de l’appel : le numéro de l’appelant, l’opérateur, l’identifiant technique, les mots "
        "reconnus, les événements.",
        "In the receipt of the call: the caller’s number, the operator, the technical identifier, the words "
        "that were recognised, the events.",
    ),
    "note": ("Le texte de la fiche d’analyse.", "The text of the analysis."),
    "notes": ("Le texte des {count} fiches d’analyse.", "The text of the {count} analyses."),
    "call_stays": (
        "De l’appel : sa référence, le moment exact de son début, du décroché, de la mise en relation et de "
        "la fin, le numéro composé, l’issue de l’appel, et ce qui a été décidé de son enregistrement.",
        "Of the call: its reference, the exact moments at which it began, was answered, connected and ended, "
        "the number that was dialled, how it ended, and what was decided about recording it.",
    ),
    "sound_stays": (
        "De l’enregistrement : sa durée, ses pauses, l’annonce entendue, la taille et l’empreinte du fichier "
        "effacé.",
        "Of the recording: its length, its pauses, the notice that was heard, the size and the hash of the "
        "deleted file.",
    ),
    "notes_stay": (
        "Des fiches d’analyse : leur date.",
        "Of the analyses: their dates.",
    ),
    "uses_stay": (
        "Dans la trace des usages : cet effacement et ce qui l’a précédé ; pendant un temps aussi, le nom "
        "des personnes qui ont agi et le motif qu’elles ont donné.",
        "In the trace of uses: this deletion and what came before it; for a time also the names of those who "
        "did it, and the reasons that they gave.",
    ),
    "who": (
        "Ni le numéro ni la voix de la personne qui a appelé n’en font partie. Quiconque détient d’autres "
        "traces de ce moment et de ce numéro composé, comme un opérateur de télécommunications, peut encore "
        "savoir qui a appelé.",
        "Neither the number nor the voice of the person who called is among it. Whoever has other records of "
        "that moment and of the number dialled, such as a telephone company, can still tell who called.",
    ),
    "none": (
        "Aucune n’est connue du service.",
        "None is known to the service.",
    ),
    "remain": (
        "Ces copies existent encore, et restent à effacer là où elles sont :",
        "These copies still exist, and remain to be deleted where they are:",
    ),
    "copy": ("{path}, exportée le {at}", "{path}, exported on {at}"),
    "download": ("{path}, téléchargée le {at}", "{path}, downloaded on {at}"),
    "copy_by": (" par {by}", " by {by}"),
    "chain": (
        "Écriture n° {seq} de la chaîne du service, SHA-256 :",
        "Entry {seq} of the chain of the service, SHA-256:",
    ),
}


def certificate(done: Deletion, service: ServiceTable) -> str:
    """The text: lines of 78 characters, except values, which are not broken; times in the service's zone."""
    page = _Page(StatisticsWords("fr" if service.language == "fr" else "en"), service)
    return "\n".join(page.lines(done)) + "\n"


class _Page:
    def __init__(self, words: StatisticsWords, service: ServiceTable) -> None:
        self._words = words
        self._service = service

    def lines(self, done: Deletion) -> Iterator[str]:
        yield self._say("title")
        yield ""
        yield from self._fields(done)
        for heading, part in (
            ("gone", self._gone(done)),
            ("stays", self._stays(done)),
            ("copies", self._copies(done.copies)),
            ("proof", [self._say("chain", seq=done.entry.seq), done.entry.hash]),
        ):
            yield ""
            yield self._say(heading)
            yield from part
        yield ""
        yield self._say("signature")

    def _fields(self, done: Deletion) -> Iterator[str]:
        service, row = self._service, done.call.recording
        values = {
            "controller": service.controller,
            "contact": service.controller_contact,
            "dpo": service.dpo_contact,
            "service": service.name,
            "call": done.call.id,
            "began": self._moment(done.call.started_at),
            "length": self._words.length(row.duration_s, whole=True) if row and row.duration_s else None,
            "at": self._moment(done.trace.at),
            "by": done.trace.by,
            "reason": done.trace.detail,
        }
        width = max(len(self._say(name)) for name in values)
        for name, value in values.items():
            if value:
                yield f"{self._say(name):{width}}  {value}"

    def _gone(self, done: Deletion) -> Iterator[str]:
        yield from self._sound(done.call.recording)
        if done.receipt:
            yield from self._item(self._say("receipt"))
        if done.notes:
            yield from self._item(self._say("note" if done.notes == 1 else "notes", count=done.notes))

    def _stays(self, done: Deletion) -> Iterator[str]:
        """What stays, by the rows: `Receipt.anonymous`, `Recording.tombstone`, notes and uses without
        names."""
        yield from self._item(self._say("call_stays"))
        if done.call.recording is not None and done.call.recording.sha256 is not None:
            yield from self._item(self._say("sound_stays"))
        if done.notes:
            yield from self._item(self._say("notes_stay"))
        yield from self._item(self._say("uses_stay"))
        yield from wrap(self._say("who"), _WIDTH)

    def _sound(self, row: Recording | None) -> Iterator[str]:
        if row is None or row.status in (Status.ERASED, Status.FAILED):
            yield from self._item(self._say("no_sound"))
            return
        if row.purged_at is None:
            yield from self._item(self._say("sound"))
        else:
            yield from self._item(self._say("sound_before", at=self._moment(row.purged_at)))
        if row.sha256 is not None:
            yield "  " + self._say("file", size=self._words.size(row.bytes or 0))
            yield f"  {row.sha256}"

    def _copies(self, copies: tuple[Copy, ...]) -> Iterator[str]:
        yield self._say("remain" if copies else "none")
        for copy in copies:
            line = self._say(
                "download" if copy.elsewhere else "copy",
                path=printable(str(copy.path), _PATH),
                at=self._moment(copy.at),
            )
            yield f"- {line}{self._say('copy_by', by=copy.by) if copy.by else ''}"

    def _item(self, text: str) -> list[str]:
        return wrap(text, _WIDTH, initial_indent="- ", subsequent_indent="  ")

    def _moment(self, at: datetime) -> str:
        return f"{self._words.second(at.astimezone(self._service.timezone))} ({self._service.timezone.key})"

    def _say(self, name: str, **values: object) -> str:
        french, english = _WORDS[name]
        return (set_french(french) if self._words.french else english).format(**values)
