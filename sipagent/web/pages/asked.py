"""What waits for a second person's agreement, in words."""

from retention.approval import Approval, Asked
from sipagent.languages.spoken import gettext as _
from sipagent.web.templating import cut, label


def asked_in_words(asked: Approval) -> str:
    """`Hold: criminal, reference complaint 2026-41, to be looked at again on 2027-05-31.`"""
    if asked.action == Asked.EXPORT:
        said = _("Export for {purpose}, {channel}, reference {reference}.")
        return said.format(
            purpose=label("purpose", asked.purpose or "–"),
            channel=_channels().get(asked.channel or "", cut(asked.channel or "–")),
            reference=cut(asked.reference or "–"),
        )
    if asked.action == Asked.RELEASE:
        return _("End of the hold: {reason}.").format(reason=cut((asked.reason or "–").rstrip(".")))
    said = _("Hold: {ground}, reference {reference}, to be looked at again on {review}.")
    if asked.action == Asked.RENEW:
        said = _("The hold goes on: {ground}, reference {reference}, to be looked at again on {review}.")
    return said.format(
        ground=label("ground", asked.ground or "–"),
        reference=cut(asked.reference or "–"),
        review=cut(asked.review or "–"),
    )


def _channels() -> dict[str, str]:
    return {
        "both": _("both voices"),
        "caller": _("the caller’s voice"),
        "operator": _("the operator’s voice"),
    }
