"""The words that refuse: what is heard of them in a file, `detect`, and training one, `train-keyword`."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from gettext import gettext as _
from pathlib import Path
from typing import Any, NamedTuple

import click

from media.hearing.detectors import load_detector
from media.hearing.keyword import Detector
from media.hearing.spotter import known_heads, plain
from media.training import enrolled
from media.training.language import LANGUAGES, Language, card, language
from sipagent.cli.program import FILE, Failure, Workplace, json_option, print_json
from sipagent.cli.terminal import Column, coded, console, figure, in_seconds, percent, show_table, steps
from sipagent.config.load import Config
from sipagent.languages.spoken import shown
from sipagent.voice.detectors import Detected, UnreadableSound, detectors, hear, read_sound
from sipagent.voice.own_keyword import (
    PROMPTS,
    SYNTHETIC,
    Bounds,
    Rate,
    Trained,
    figures,
    figures_of_strangers,
    install,
    train,
    why_not,
)


@click.command("detect")
@click.argument("files", nargs=-1, required=True, metavar="WAV…", type=FILE)
@json_option
@click.pass_obj
def detect_command(work: Workplace, /, *, files: tuple[Path, ...], as_json: bool) -> None:
    """Listen to files as on a call before the bridge: any WAV or FLAC, of several channels the first.

    With the configured keywords; and where refusal.engine is "none", with the engine "embedding". Exit 0
    whatever is heard; 1 for a file that cannot be read.

    \b
    Examples:
      sipagent detect refusal.wav
      sipagent detect --json calls/*.wav
    """
    detector = _detector(work)
    heard: list[tuple[Path, Detected]] = []
    unreadable: list[str] = []
    for path in files:
        try:
            heard.append((path, hear(detector, read_sound(path))))
        except UnreadableSound as wrong:
            unreadable.append(shown(wrong))
    if as_json:
        print_json([_heard_json(path, result) for path, result in heard])
    else:
        show_table(heard, _COLUMNS, console())
    if unreadable:
        raise Failure("; ".join(unreadable))


def _detector(work: Workplace) -> Detector:
    refusal = work.config.refusal
    heard = detectors(work.config).before
    detector = heard or load_detector(
        "embedding", refusal.keywords, heads=refusal.heads, second=refusal.second
    )
    assert detector is not None
    return detector


def _heard_json(path: Path, heard: Detected) -> dict[str, Any]:
    """`verdict` is `accept` only in the mode opt_in. `latency_ms`: from the end of the speech to the verdict,
    CPU time included; null for `other`."""
    return {
        "file": str(path),
        "verdict": str(heard.verdict.meaning),
        "keyword": heard.verdict.keyword,
        "confidence": heard.verdict.confidence,
        "utterances": len(heard.verdicts),
        "latency_ms": heard.latency_ms,
        "cpu_s": round(heard.cpu_s, 4),
        "duration_s": round(heard.duration_s, 3),
    }


_COLUMNS: list[Column[tuple[Path, Detected]]] = [
    Column("file", lambda row: str(row[0]), shrinks=True),
    Column("verdict", lambda row: coded("verdict", str(row[1].verdict.meaning))),
    Column("keyword", lambda row: row[1].verdict.keyword),
    Column("confidence", lambda row: _two(row[1].verdict.confidence), right=True),
    Column("utterances", lambda row: str(len(row[1].verdicts)), right=True),
    Column("latency", lambda row: _ms(row[1].latency_ms), right=True),
    Column("CPU", lambda row: _ms(round(row[1].cpu_s * 1000)), right=True),
    Column("length", lambda row: in_seconds(row[1].duration_s), right=True),
]


def _two(value: float | None) -> str | None:
    return None if value is None else figure(value, ".2f")


def _ms(value: int | None) -> str | None:
    return None if value is None else f"{value} ms"


STYLES = (Path("package/voices"), Path("node_modules/kokoro-js/voices"))
LONGEST, MOST_WORDS = 60, 8


@click.command("train-keyword")
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
@click.option(
    "--voices",
    "lent",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Train on colleagues' voices, too: what `sipagent enrol` keeps.",
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
    lent: Path | None,
    as_json: bool,
) -> None:
    """Make a head that hears PHRASE as a refusal, check it, and put it where the service finds it.

    Synthetic voices say the phrase, what sounds like it and what callers say, over bad lines. A head that
    does not hear enough of the voices held back, or takes other speech for it, is not installed: exit 1.
    It lands in refusal.heads; then name the phrase in refusal.keywords.

    Three colleagues or more are left out in turn, to say what people reach who weren't in the training. With
    them PHRASE may be one that the shipped heads know: both listen for it then.

    \b
    Needs: apt install espeak-ng wfrench && pip install 'sipagent[train]'
    Uses the voices of Kokoro, festival, MBROLA and Pico, and Debian's recordings of people, where installed.

    \b
    Examples:
      sipagent train-keyword "pas de bande" --lang fr
      sipagent train-keyword "leave me out" --lang en --json
      sipagent train-keyword "je refuse" --lang fr --voices voices
    """
    from media.training.own import USUAL, PhraseMaterial

    spoken, words = _language(work.config, lang), _phrase(phrase)
    _refuse_known(words, lent is not None)
    _refuse_read_only(work.config.refusal.heads)
    voices = _Voices((), ()) if lent is None else _voices(lent, words, spoken)
    bounds = Bounds(recall / 100, false_refusals / 100)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sipagent-train-") as scratch, steps(many=1) as step:
        material = PhraseMaterial(
            styles or next(filter(Path.is_dir, STYLES), STYLES[0]),
            tuple(_prompts(work.config, words)),
            USUAL.share(share),
            voices.used,
        )
        trained = train(words, spoken, Path(scratch), material, step)
    why, seconds = why_not(trained.check, bounds), time.monotonic() - began
    place = None if why else _install(work.config, trained, spoken, bounds, voices)
    if as_json:
        print_json(_json(trained, voices, spoken, place, why=why, seconds=seconds))
    else:
        click.echo(_told(trained, seconds))
        if voices.used:
            click.echo(_told_of_strangers(trained))
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


class _Voices(NamedTuple):
    """Colleagues who are trained on, and who is left out and why."""

    used: tuple[enrolled.EnrolledPerson, ...]
    unused: tuple[tuple[enrolled.EnrolledPerson, enrolled.Unused], ...]


def _voices(folder: Path, phrase: str, spoken: Language) -> _Voices:
    """Raises click.UsageError if there is nobody."""
    try:
        used, unused = enrolled.usable(enrolled.enrolled(folder), phrase, spoken.code, datetime.now(UTC))
    except enrolled.EnrolledError as wrong:
        raise click.UsageError(shown(wrong)) from wrong
    left = ", ".join(f"{person.folder.name} ({_why(person, why)})" for person, why in unused)
    if not used:
        said = _("--voices {file}: nobody to train on{left}; accepted: who says {phrase!r} in {language}")
        left = left and _(", left out: {left}").format(left=left)
        raise click.UsageError(said.format(file=folder, left=left, phrase=phrase, language=spoken.code))
    if left:
        click.echo(_("left out: {left}").format(left=left), err=True)
    return _Voices(tuple(used), tuple(unused))


def _why(person: enrolled.EnrolledPerson, why: enrolled.Unused) -> str:
    if why == "expired":
        return _("kept until {date}").format(date=f"{person.expires_at:%Y-%m-%d}")
    return (
        _("speaks {language}").format(language=person.language) if why == "language" else _("never says it")
    )


def _refuse_known(phrase: str, voices: bool) -> None:
    """Refuse a phrase that a shipped head hears; a head trained here may be made again.

    With colleagues' `voices` one that refuses may have a second head.
    """
    known = {plain(one): head for head in known_heads() for one in head.phrases}
    if phrase in known and not (voices and phrase in map(plain, language(known[phrase].language).refusing)):
        said = _("{phrase!r} is heard already, by the head for {language}: name it in refusal.keywords")
        raise Failure(said.format(phrase=phrase, language=known[phrase].language))


def _prompts(config: Config, phrase: str) -> list[Path]:
    """What the agent says, without prompts that name the phrase: these ask the caller to say it."""
    ours = config.prompt_sets()[0].sounds
    shipped = sorted((PROMPTS / config.service.language).glob("*.wav"))
    return [path for path in (*ours, *shipped) if path.is_file() and not _names(path, phrase)]


def _names(path: Path, phrase: str) -> bool:
    said = path.with_name(path.name.partition(".")[0] + ".txt")
    return said.is_file() and phrase in plain(said.read_text(encoding="utf-8"))


def _install(config: Config, trained: Trained, spoken: Language, bounds: Bounds, voices: _Voices) -> Path:
    from media.training.own import file_name

    name = file_name(trained.head.phrases[0], spoken.code)
    return install(trained.head, _card(trained, spoken, bounds, voices.used), config.refusal.heads, name)


def _card(
    trained: Trained, spoken: Language, bounds: Bounds, voices: Sequence[enrolled.EnrolledPerson]
) -> str:
    """The card of the head: what it was made of, and what its check found; it names no person."""
    check = trained.check
    rows = [f"| recall, {name} | {share:.1%} | |" for name, share in check.recalls.items()]
    return card("keyword").format(
        phrase=trained.head.phrases[0],
        language=spoken.name,
        made=date.today().isoformat(),
        synthesizers=", ".join(name for name in trained.synthesizers if name in SYNTHETIC),
        trained=trained,
        recall=check.recall,
        rows="\n".join([*rows, *_rows_of_voices(trained)]),
        colleagues=_colleagues(trained, voices),
        people=LENT if voices else NOBODY,
        false=check.false_refusals,
        near=check.near_misses,
        bounds=bounds,
    )


NOBODY = "No person says the phrase in this material"
LENT = "These colleagues knew that they were heard, and said what they were asked to say"


def _rows_of_voices(trained: Trained) -> Iterator[str]:
    if together := trained.check.together:
        yield f"| recall with the shipped head beside it | {together.recall:.1%} | |"
        yield f"| other speech taken for it by either | {together.false_refusals:.2%} | |"
    if strangers := trained.strangers:
        said, others = strangers.rate("keyword"), strangers.rate("other")
        yield f"| recall, colleagues whom it was not trained on, {said.count} times said | {_rate(said)} | |"
        yield f"| their other sentences taken for it, {others.count} | {_rate(others)} | |"


def _rate(rate: Rate) -> str:
    """With the interval in which the share of many more would lie."""
    if rate.share is None or rate.interval is None:
        return "–"
    low, high = rate.interval
    return f"{rate.share:.1%} ({low:.0%} to {high:.0%})"


def _colleagues(trained: Trained, voices: Sequence[enrolled.EnrolledPerson]) -> str:
    if not voices:
        return ""
    said = sum(len(enrolled.sayings_of(person, trained.head.phrases[0])) for person in voices)
    return f"{len(voices)} colleague{'s' if len(voices) > 1 else ''}, {said} times said; "


def _told(trained: Trained, seconds: float) -> str:
    check = trained.check
    said = _(
        "Voices held back: of {said} who say it {recall} are heard ({by}); {false} of {others} other "
        "utterances are taken for it, {near} of what sounds like it. Took {seconds} s."
    )
    return said.format(
        said=check.recall.count,
        recall=percent(check.recall.share or 0),
        by=", ".join(f"{name} {percent(share, 0)}" for name, share in check.recalls.items()),
        false=percent(check.false_refusals.share or 0, 2),
        others=check.false_refusals.count,
        near=percent(check.near_misses.share or 0),
        seconds=round(seconds),
    )


def _told_of_strangers(trained: Trained) -> str:
    if (strangers := trained.strangers) is None:
        return _("Colleagues are too few to say what others would reach: at least {least}.").format(
            least=enrolled.LEAST_PEOPLE
        )
    said, others = strangers.rate("keyword"), strangers.rate("other")
    told = _(
        "Colleagues left out in turn: of {said} who say it {recall} are heard ({low} to {high}); {false} of "
        "{others} other sentences are taken for it."
    )
    low, high = said.interval or (0.0, 1.0)
    return told.format(
        said=said.count,
        recall=percent(said.share),
        low=percent(low, 0),
        high=percent(high, 0),
        false=percent(others.share),
        others=others.count,
    )


def _json(
    trained: Trained,
    voices: _Voices,
    spoken: Language,
    place: Path | None,
    *,
    why: str | None,
    seconds: float,
) -> dict[str, Any]:
    """`voices`: of colleagues, where there are any."""
    told: dict[str, Any] = {
        "phrase": trained.head.phrases[0],
        "language": spoken.code,
        "head": None if place is None else str(place),
        "why_not": why,
        **figures(trained.check),
        "synthesizers": list(trained.synthesizers),
        "people": trained.people,
        "seconds": round(seconds, 1),
    }
    if voices.used:
        told["voices"] = {
            "persons": len(voices.used),
            "left_out": [{"person": one.folder.name, "why": unused} for one, unused in voices.unused],
            "strangers": figures_of_strangers(trained.strangers),
        }
    return told
