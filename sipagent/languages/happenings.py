"""The lines of a call's story, which receipts keep in English, in the language that is spoken."""

import re

from sipagent.languages.labels import N_, label
from sipagent.languages.spoken import gettext

_TOLD = (  # what a line says, with what differs from call to call; the first that fits
    N_("decision: {decision} ({by})"),
    N_("language: {language}"),
    N_("rejected with {status}"),
    N_("referred to {who}"),
    N_("ringing {who}"),
    N_("bridged with {who}"),
    N_("transfer to {who}: busy"),
    N_("transfer to {who}"),
    N_("{what}: {n} times more"),
    N_("{who}: no answer"),
    N_("{who}: unreachable"),
    N_("{who}: busy"),
    N_("{who}: declined"),
    N_("{who}: silent"),
    N_("{who}: given up for another caller"),
    N_("{who}: answered and sent nothing"),
    N_("{who}: hung up"),
    N_("{who}: no media"),
    N_("{who}: refused with {status}"),
    N_("REFER refused with {status}"),
    N_("not drawn: {draw} of seed {seed}, share {share}"),
    N_("drawn: {draw} of seed {seed}, share {share}"),
    N_("not drawn: no seed, share {share}"),
    N_("drawn: no seed, share {share}"),
)


def happening(what: str) -> str:
    """The line `what`; as it is, where nobody foresaw it."""
    named = label("happening", what)
    if named != what:
        return named
    for message in _TOLD:
        if found := _pattern(message).fullmatch(what):
            values = found.groupdict()
            if "decision" in values:
                values = {
                    "decision": label("decision", values["decision"]),
                    "by": label("by", values["by"]),
                }
            elif "n" in values:
                values["what"] = happening(values["what"])
            return gettext(message).format(**values)
    return what


def _pattern(message: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\})", message)
    return re.compile(
        "".join(f"(?P<{one[1:-1]}>.+)" if one.startswith("{") else re.escape(one) for one in parts)
    )
