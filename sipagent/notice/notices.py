"""The notices that callers hear: sound, words and hash, per language. Raises the errors of
`inspect_prompt`."""

from dataclasses import dataclass

from media.prompt import PromptFile, inspect_prompt
from sipagent.config.load import Config


@dataclass(frozen=True, slots=True)
class SpokenNotice:
    """What callers hear in one language: `numbers` lead to it, and `keys` of `prompts.choices`.

    Both are empty for the language of all other calls.
    """

    language: str
    numbers: tuple[str, ...]
    prompt: PromptFile
    keys: tuple[str, ...] = ()


def spoken_notices(config: Config) -> tuple[SpokenNotice, ...]:
    """The notice of every language in use, the default one first. Raises PromptError, OSError."""
    return tuple(
        SpokenNotice(
            prompts.language,
            tuple(
                number
                for number, language in config.prompts.languages.items()
                if language == prompts.language != config.service.language
            ),
            inspect_prompt(prompts.notice),
            tuple(key for key, language in config.prompts.choices.items() if language == prompts.language),
        )
        for prompts in config.prompt_sets()
    )
