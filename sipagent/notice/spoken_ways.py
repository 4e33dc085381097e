"""What a prompt tells callers to say, and whether a detector hears it.

A caller who says what the notice asks for, and is still recorded, has been deceived. So a promise that the
agent does not keep stops `check` and `run`. Words to be said to a person are not a promise.
"""

from collections.abc import Iterator, Mapping, Sequence

from media.prompt import PromptFile
from sipagent.config.load import Config
from sipagent.config.refusal_words import WORDS
from sipagent.notice import words as heard
from sipagent.notice.vocabulary import VOCABULARIES, Vocabulary

_ENDS = ".!?;…"  # "say: I refuse" is one sentence here


def broken_promise(config: Config, text: str, said: Vocabulary) -> str | None:
    """What plain words promise about speaking and the agent does not keep, in words that continue "it"; None:
    nothing."""
    promised = list(_asked_to_say(config, text, said, refusing=True))
    if not promised:
        return None
    if config.refusal.engine == "none":
        why = 'is "none"' if config.refusal.engine_written else "is absent, and nothing can listen here"
        return f"promises a spoken refusal, which nobody hears: refusal.engine {why}"
    for words in promised:
        if words and not heard.names_one_of(words, config.refusal.keywords, said):
            return f"promises a spoken refusal, and what it says to say ({words}) is none of refusal.keywords"
    return None


def tells_to_say(config: Config, text: str, said: Vocabulary, *, refusing: bool) -> bool:
    """Whether plain words tell callers to say one of the keywords that refuse, or accept."""
    keywords = config.refusal.keywords if refusing else config.refusal.accept_keywords
    asked = _asked_to_say(config, text, said, refusing=refusing)
    return any(heard.names_one_of(words, keywords, said) for words in asked)


def better_heard(config: Config, text: str, said: Vocabulary) -> tuple[str, str] | None:
    """A default phrase that plain words promise, and the one to promise instead; None: they promise that one,
    or what was never compared."""
    promised = " / ".join(_asked_to_say(config, text, said, refusing=True))
    for best, *others in (words["keywords"] for words in WORDS.values()):
        if heard.names_one_of(promised, [best], said):
            return None
        if lesser := [phrase for phrase in others if heard.names_one_of(promised, [phrase], said)]:
            return lesser[0], best
    return None


def promises(config: Config, language: str, notice: PromptFile, *, refusing: bool) -> bool:
    """Whether a notice tells callers to say what refuses, or accepts.

    If nobody can read it, for want of a vocabulary or of its words: whether the words are in the file.
    """
    said = VOCABULARIES.get(language)
    if said and notice.words:
        asked = _asked_to_say(config, heard.plain(notice.words), said, refusing=refusing)
        return next(asked, None) is not None
    return ("keywords" if refusing else "accept_keywords") in config.refusal.model_fields_set


def unkept(config: Config, spoken: Mapping[str, Sequence[PromptFile]]) -> str | None:
    """The first broken promise among the prompts of each language, with its file; None: all are kept."""
    for language, prompts in spoken.items():
        for prompt in prompts:
            said = VOCABULARIES.get(language)
            if said and prompt.words and (wrong := broken_promise(config, heard.plain(prompt.words), said)):
                return f"{prompt.path} {wrong}"
    return None


def _asked_to_say(config: Config, text: str, said: Vocabulary, *, refusing: bool) -> Iterator[str]:
    """For each sentence that tells to refuse, or accept, by voice: the words to say, "" for any."""
    speaks = heard.refuses if refusing else heard.accepts
    keywords = config.refusal.keywords if refusing else config.refusal.accept_keywords
    for sentence in heard.sentences(text, _ENDS):
        words = heard.to_be_said(sentence, said)
        if words is None or not speaks(sentence, said):
            continue
        if heard.names_one_of(words, keywords, said) or not heard.says(sentence, said.persons):
            yield words
