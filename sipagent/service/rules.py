"""What is made from the configuration at the start and at each reload: rules of calls, seed, detectors."""

from dataclasses import replace

from media.hearing.keyword import DetectorUnavailable
from media.prompt import PromptError
from sipagent.agent.admission import Admission, admission
from sipagent.call import events as e
from sipagent.config.load import Config, ConfigError
from sipagent.config.sampling import Seed
from sipagent.config.seed import SeedError, keep_seed
from sipagent.logs import alert
from sipagent.notice.spoken_ways import promises, unkept
from sipagent.voice.detectors import Detectors, detectors, loaded

PROMISES = (e.Prompt.NOTICE, e.Prompt.CONFIRM)  # what they tell callers to do must count


def rules_of(config: Config) -> Admission:
    """The rules of calls, without a seed. Raises ConfigError, also if a prompt promises what does not
    work."""
    try:
        rules = admission(config)
    except PromptError as wrong:
        raise ConfigError(config.file, "prompts", f"{wrong.path}: {wrong.problem}", wrong.accepted) from wrong
    spoken = {language: [one[prompt] for prompt in PROMISES] for language, one in rules.sounds.items()}
    if broken := unkept(config, spoken):
        accepted = "refusal.engine and keywords that hear it, or a notice that names keys alone"
        raise ConfigError(config.file, "prompts", broken, accepted)
    promised = {
        (language, wish)
        for language, (notice, _) in spoken.items()
        for wish in (e.Wish.REFUSE, e.Wish.ACCEPT)
        if promises(config, language, notice, refusing=wish is e.Wish.REFUSE)
    }
    return replace(rules, policy=replace(rules.policy, promised=frozenset(promised)))


def with_seed(rules: Admission, config: Config, known: Seed | None = None) -> Admission:
    """These rules with the seed of draws. Without a seed, no call is recorded if only a share of calls would
    be."""
    return replace(rules, seed=known or _seed(config))


def _seed(config: Config) -> Seed | None:
    try:
        return keep_seed(config.places.seed)
    except (SeedError, OSError) as wrong:
        alert(f"{wrong}; until then no call is drawn where recording.share is below 1")
        return None


def listening(config: Config) -> tuple[Config, Detectors]:
    """The configuration in force on this machine, and its detectors, see `loaded`. Raises ConfigError for an
    engine that the file names; that the default one does not listen is an alert."""
    try:
        in_force, found, trouble = loaded(config)
    except DetectorUnavailable as wrong:
        raise ConfigError(config.file, wrong.key, str(wrong)) from wrong
    if trouble:
        alert(f"refusal.engine: {trouble}")
    return in_force, found


def detectors_of(config: Config) -> Detectors:
    """The detectors of spoken refusals. Raises ConfigError for a phrase that no detector hears."""
    try:
        return detectors(config)
    except DetectorUnavailable as wrong:
        raise ConfigError(config.file, wrong.key, str(wrong)) from wrong
