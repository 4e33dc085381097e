"""What lies beside a backup for people, in both languages: who finds it may not know what it is."""

from retention.backup.manifest import Manifest
from retention.recording import to_text


def readme(manifest: Manifest) -> str:
    """The text of its README."""
    until = manifest.keep_until
    kept = _NEVER if until is None else tuple(one.format(until=to_text(until)[:10]) for one in _UNTIL)
    told = {"at": to_text(manifest.made_at), "count": len(manifest.recordings)}
    return "\n".join(text.format(**told, kept=one) for text, one in zip(_TEXTS, kept, strict=True))


_NEVER = ("It has no recording that expires.", "Elle ne contient aucun enregistrement qui expire.")
_UNTIL = (
    "Remove it on {until} at the latest: then the first recording in it has expired.",
    "Supprimez-la au plus tard le {until}\u00a0: le premier enregistrement qu’elle contient a alors expiré.",
)
_TEXTS = (
    """A backup of sipagent, made at {at}, with {count} recordings.

{kept}

Who reads it reads the numbers of callers, and hears what was stored in clear: keep it as private as the
recordings. Put it back into an empty place, while no agent runs there:

    sipagent restore FOLDER

What was deleted for a person after it was made comes back with it, and must be deleted again: the
certificates tell. What expired meanwhile does not come back.
""",
    """Une sauvegarde de sipagent, faite à {at} (UTC), avec {count} enregistrements.

{kept}

Qui la lit lit les numéros des appelants, et entend ce qui était stocké en clair\u00a0: gardez-la aussi
confidentielle que les enregistrements. Remettez-la dans un endroit vide, où aucun agent ne tourne\u00a0:

    sipagent restore DOSSIER

Ce qui a été effacé depuis à la demande d’une personne revient avec elle, et doit être effacé de nouveau
(les attestations le disent). Ce qui a expiré entre-temps ne revient pas.
""",
)
