"""Trains a keyword of the service: `train-keyword`."""

import os
import tempfile
import time
from datetime import date
from gettext import gettext as _
from pathlib import Path
from typing import Any

import click

from media.hearing.keyword import DetectorUnavailable
from media.hearing.spotter import known_heads, plain
from media.training.language import LANGUAGES, Language, language
from sipagent.cli.base import Failure, Workplace, json_option, print_json
from sipagent.cli.progress import steps
from sipagent.cli.times import percent
from sipagent.config.load import Config
from sipagent.config.tables.spoken import PromptFiles
from sipagent.languages.reason import shown
from sipagent.voice.own_keyword import (
    PROMPTS,
    SYNTHETIC,
    Bounds,
    Trained,
    TrainingFailed,
    figures,
    install,
    train,
    why_not,
)

STYLES = (Path("package/voices"), Path("node_modules/kokoro-js/voices"))
LONGEST, MOST_WORDS = 60, 8


@click.command("train-keyword", short_help="Make a head for a keyword of your own: minutes.")
@click.argument("phrase")
@click.option("--lang", type=click.Choice(LANGUAGES), help="The language it is in; else that of the service.")
@click.option(
    "--recall",
    type=click.FloatRange(0, 100),
    default=85.0,
    metavar="N",
    show_default=True,
    help="Per cent of those who say it that must be heard.",
)
@click.option(
    "--false-refusals",
    type=click.FloatRange(0, 100),
    default=0.5,
    metavar="N",
    show_default=True,
    help="Per cent of other utterances that may be taken for it.",
)
@click.option(
    "--share",
    type=click.FloatRange(0.01, 10),
    default=1.0,
    metavar="N",
    show_default=True,
    help="Of the usual number of utterances: less takes less time, and hears worse.",
)
@click.option(
    "--styles",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="The folder of Kokoro's speakers; else where npm leaves them below the current folder.",
)
@json_option
@click.pass_obj
def train_command(
    work: Workplace,
    /,
    *,
    phrase: str,
    lang: str | None,
    recall: float,
    false_refusals: float,
    share: float,
    styles: Path | None,
    as_json: bool,
) -> None:
    """Make a head that hears PHRASE as a refusal, check it, and put it where the service finds it.

    Synthetic voices say the phrase, what sounds like it and what callers say, over bad lines. A head that
    does not hear enough of the voices held back, or takes other speech for it, is not installed: exit 1.
    It lands in refusal.heads; then name the phrase in refusal.keywords.

    \b
    Needs: apt install espeak-ng wfrench && pip install 'sipagent[train]'
    Uses Kokoro's and Pico's voices, and Debian's recordings of people, where they are installed.

    \b
    Examples:
      sipagent train-keyword "pas de bande" --lang fr
      sipagent train-keyword "leave me out" --lang en --json
    """
    from media.training.own import USUAL, Material, Missing

    spoken, words = _language(work.config, lang), _phrase(phrase)
    _refuse_known(words)
    _refuse_read_only(work.config.refusal.heads)
    bounds = Bounds(recall / 100, false_refusals / 100)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sipagent-train-") as scratch, steps(many=1) as step:
        try:
            trained = train(
                words,
                spoken,
                Path(scratch),
                Material(
                    styles or next(filter(Path.is_dir, STYLES), STYLES[0]),
                    tuple(_prompts(work.config, words)),
                    USUAL.share(share),
                ),
                step,
            )
        except (Missing, TrainingFailed) as wrong:
            raise Failure(*wrong.args) from wrong
    why, seconds = why_not(trained.check, bounds), time.monotonic() - began
    place = None if why else _install(work.config, trained, spoken, bounds)
    if as_json:
        print_json(_json(trained, spoken, place, why, seconds))
    else:
        click.echo(_told(trained, seconds))
    if why:
        raise Failure(_("{words!r} is not installed: {why}").format(words=words, why=shown(why)))
    if not as_json:
        said = _("{file} hears {words!r}; name it in refusal.keywords, then run `sipagent check`")
        click.echo(said.format(file=place, words=words))


def _language(config: Config, code: str | None) -> Language:
    code = code or config.service.language
    if code not in LANGUAGES:
        said = _("no voices for {code!r}; accepted: --lang {languages}")
        raise click.UsageError(said.format(code=code, languages="|".join(LANGUAGES)))
    return language(code)


def _phrase(text: str) -> str:
    """The phrase in the form that heads have. Raises click.UsageError."""
    phrase = plain(text)
    if not phrase or len(phrase) > LONGEST or len(phrase.split()) > MOST_WORDS:
        said = _("PHRASE {text!r}: accepted: words of {letters} letters, {words} of them at most")
        raise click.UsageError(said.format(text=text, letters=LONGEST, words=MOST_WORDS))
    return phrase


def _refuse_read_only(folder: Path) -> None:
    """Refuse a read-only folder before the work, not after it."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        said = _("{file}: cannot be written to; accepted: such a folder in refusal.heads")
        raise Failure(said.format(file=folder))


def _refuse_known(phrase: str) -> None:
    """Refuse a phrase that a shipped head hears; a head trained here may be made again."""
    try:
        known = {plain(one): head for head in known_heads() for one in head.phrases}
    except DetectorUnavailable as wrong:
        raise Failure(*wrong.args) from wrong
    if phrase in known:
        said = _("{phrase!r} is heard already, by the head for {language}: name it in refusal.keywords")
        raise Failure(said.format(phrase=phrase, language=known[phrase].language))


def _prompts(config: Config, phrase: str) -> list[Path]:
    """What the agent says, without prompts that name the phrase: these ask the caller to say it."""
    ours = [getattr(config.prompts, name) for name in PromptFiles.model_fields]
    shipped = sorted((PROMPTS / config.service.language).glob("*.wav"))
    return [path for path in (*filter(None, ours), *shipped) if path.is_file() and not _names(path, phrase)]


def _names(path: Path, phrase: str) -> bool:
    said = path.with_name(path.name.partition(".")[0] + ".txt")
    return said.is_file() and phrase in plain(said.read_text(encoding="utf-8"))


def _install(config: Config, trained: Trained, spoken: Language, bounds: Bounds) -> Path:
    from media.training.own import file_name

    name = file_name(trained.head.phrases[0], spoken.code)
    return install(trained.head, card(trained, spoken, bounds), config.refusal.heads, name)


def card(trained: Trained, spoken: Language, bounds: Bounds) -> str:
    """The card of the head: what it was made of, and what its check found."""
    check = trained.check
    recalls = "\n".join(f"| recall, {name} | {share:.1%} | |" for name, share in check.recalls.items())
    return CARD.format(
        phrase=trained.head.phrases[0],
        language=spoken.name,
        made=date.today().isoformat(),
        synthesizers=", ".join(name for name in trained.synthesizers if name in SYNTHETIC),
        people=trained.people,
        rounds=trained.rounds,
        head=trained.head,
        recall=check.recall or 0.0,
        recalls=recalls,
        false_refusals=check.false_refusals or 0.0,
        near=check.near_misses or 0.0,
        bounds=bounds,
        said=check.said,
        others=check.count("other"),
    )


CARD = """\
# {phrase}

A head for one phrase, in {language}, made by `sipagent train-keyword` on {made}. It only refuses.

| checked on voices and sentences that it never heard | | at worst |
|---|---|---|
| recall, {said} times said | {recall:.1%} | {bounds.recall:.1%} |
| other speech taken for it, {others} utterances | {false_refusals:.2%} | {bounds.false_refusals:.2%} |
| what sounds like it taken for it | {near:.1%} | |
{recalls}

Recall is that of other voices by the synthesizers that it was trained on; that of `pico`, if it is there, is
of one that it never heard. The lines: clean, and pink noise 20 dB below the voice.

Voices: {synthesizers}; {people} recordings of people who refuse nothing; {rounds} batches.
A refusal from {head.refuse_at}, unclear from {head.unclear_at}, in a call a refusal from {head.in_call_at}.

No person says the phrase in this material: what the head does with real callers is unknown. The key always
works.
"""


def _told(trained: Trained, seconds: float) -> str:
    check = trained.check
    said = _(
        "Voices held back: of {said} who say it {recall} are heard ({by}); {false} of {others} other "
        "utterances are taken for it, {near} of what sounds like it. Took {seconds} s."
    )
    return said.format(
        said=check.said,
        recall=percent(check.recall or 0),
        by=", ".join(f"{name} {percent(share, 0)}" for name, share in check.recalls.items()),
        false=percent(check.false_refusals or 0, 2),
        others=check.count("other"),
        near=percent(check.near_misses or 0),
        seconds=round(seconds),
    )


def _json(
    trained: Trained, spoken: Language, place: Path | None, why: str | None, seconds: float
) -> dict[str, Any]:
    return {
        "phrase": trained.head.phrases[0],
        "language": spoken.code,
        "head": None if place is None else str(place),
        "why_not": why,
        **figures(trained.check),
        "synthesizers": list(trained.synthesizers),
        "people": trained.people,
        "seconds": round(seconds, 1),
    }
