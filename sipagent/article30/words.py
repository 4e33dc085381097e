"""What the register's entry says, per language; the words are in `french` and `english`.

To add a language, write its RegisterWords: a test tells what is missing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sipagent.article30.register import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterWords:
    """The words of one language.

    A sentence is found by `Statement.name`, and by `name/how` where the statement has several; those of the
    notices by `information.notices`. It is one line of Markdown. Its braces are filled from the statement's
    value, as `markdown` writes it: `{period:period}`, `{}` for the value itself; `{todo}` is `to_complete`
    with its key. `setting` gives each line the spaces that the language has between words and signs.
    """

    introduction: str
    to_complete: str
    names: Mapping[str, str]  # of purposes and grounds; one without a name is written as it is
    languages: Mapping[str, str]  # by their tags
    setting: Callable[[str], str]
    headings: Mapping[str, str]  # by section; a section without a title continues the one before
    sentences: Mapping[str, str]
    by_hand: tuple[str, ...]  # what no configuration knows


def sentence(statement: Statement, words: RegisterWords) -> str:
    """The sentence of a statement, its braces unfilled except `{todo}`."""
    name = "information.notices" if statement.name.startswith("information.notices.") else statement.name
    found = words.sentences["/".join(filter(None, (name, statement.how)))]
    return found.replace("{todo}", f"{words.to_complete} (`{statement.keys[-1]}`)" if statement.keys else "")
