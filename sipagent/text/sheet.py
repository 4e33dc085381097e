"""The sheet for operators: what their phones show, and what they may type, on one page of A4 to print.

The words stand in `sheet.fr.txt` and `sheet.en.txt`; keys, names and numbers are those of the
configuration.
"""

from collections.abc import Iterator

from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from sipagent.config.load import Config, uri_user
from sipagent.config.rules import is_example
from sipagent.text import FOLDER
from sipagent.text.register import Statement, records
from sipagent.text.register_file import paper_lines
from sipagent.text.statistics_words import style

_COLLEAGUES = 12  # are named: more would not fit


def sheet(config: Config, language: str) -> str:
    """A complete page of HTML: no script, nothing loaded. `language` is one of LANGUAGES."""
    text = "\n".join(line.text for line in paper_lines("sheet", _statements(config), language))
    reader = (
        MarkdownIt("commonmark")
        .enable("table")
        .disable(["link", "image", "autolink", "html_inline", "html_block"])
    )
    return Markup((FOLDER / "sheet.html").read_text(encoding="utf-8")).format(
        language=language,
        title=escape(config.service.name),
        style=Markup(style("sheet")),
        text=Markup(reader.render(text)),
    )


def _statements(config: Config) -> Iterator[Statement]:
    """What holds for this service, in any order: the paper has its own."""
    operators, refusal, begins = config.operators, config.refusal, config.shares().begins
    yield Statement("title", config.service.name)
    if config.trunk.numbers:
        yield Statement("numbers", list(config.trunk.numbers))
    recorded = records(config)
    if recorded and False in begins:
        yield Statement("recorded", True)
    if recorded and True in begins:
        code = {"code": operators.record_code}
        yield Statement("may_be", code)
        yield Statement("record", code, how="" if operators.stop_erases else "again")
    if recorded:
        yield Statement("types", True)
        how = "erases" if operators.stop_erases else "keeps"
        yield Statement("stop", {"code": operators.stop_code, "stop": operators.stop_code}, how=how)
        yield Statement("pause", {"code": operators.pause_code})
        yield Statement("flag", {"code": operators.flag_code})
        yield Statement("types_answered", True)
    refuses = {"digit": ", ".join(refusal.refusing), "stop": operators.stop_code}
    aloud = refusal.engine != "none" and refusal.in_call == "key+voice"
    yield Statement(
        "refuses", refuses | {"words": list(refusal.in_call_keywords)}, how="aloud" if aloud else ""
    )
    yield Statement("asks", refuses)
    targets = [uri_user(uri) or uri for uri in operators.transfer_targets or operators.extensions]
    if len(targets) > 1:
        yield Statement(
            "colleagues", targets[:_COLLEAGUES], how="" if len(targets) <= _COLLEAGUES else "more"
        )
    contact = config.service.dpo_contact
    yield Statement("copy", contact, how="" if contact and not is_example(contact) else "nobody")
    yield Statement("period", {"period": config.retention.period})
