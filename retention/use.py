"""Who may use a recording for what: pure rules. The purposes come from the configuration.

(GDPR article 5(1)(b), purposes are specified; article 15, a person's own access.)
"""

from collections.abc import Collection

from retention.recording import Recording, Status, to_text

ACCESS_REQUEST = "access_request"  # a person asks for what is kept of them; always possible, by reference


def why_not(
    recording: Recording,
    purpose: str | None,
    by: str | None,
    reference: str | None,
    purposes: Collection[str],
) -> str | None:
    """Why this use of a recording is refused, in one line; None where it is allowed."""
    accepted = ", ".join([*purposes, ACCESS_REQUEST])
    if not purpose:
        return f"a purpose is needed; accepted: {accepted}"
    if purpose != ACCESS_REQUEST and purpose not in purposes:
        return f"purpose {purpose!r} is not listed; accepted: {accepted}"
    if not (by or "").strip():
        return "the name of who uses it is needed (--by)"
    if purpose == ACCESS_REQUEST and not (reference or "").strip():
        return f"purpose {ACCESS_REQUEST} needs the reference of the request (--reference)"
    return nothing_to_use(recording)


def nothing_to_use(recording: Recording) -> str | None:
    """Why there is no sound to use, in one line; None where there is."""
    match recording.status:
        case Status.CLOSED:
            return None
        case Status.OPEN:
            return "the call is still in progress"
        case Status.ERASED:
            return "it was erased during the call: the caller refused, or the operator stopped it"
        case Status.FAILED:
            return "the recorder failed, nothing was kept"
        case Status.PURGING | Status.PURGED:
            return already_purged(recording)


def already_purged(recording: Recording) -> str:
    """`it is already purged (2027-05-24T22:20:00.123Z)`."""
    when = f" ({to_text(recording.purged_at)})" if recording.purged_at else ""
    return f"it is already {recording.status.value}{when}"


def without_number(text: str | None, recording: Recording) -> str | None:
    """The text with the caller's number cut out, in its international or national form.

    What is written into the trace of uses outlives the purge; a file named after the caller would too.
    """
    national = (recording.caller or "")[-8:]
    return text.replace(national, "…") if text and len(national) == 8 else text
