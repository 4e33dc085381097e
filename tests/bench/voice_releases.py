"""The ledger of looks at the split `release`: one a version and language, written before anything is heard.

Who looks a second time chooses by what was seen, and the figures are then no better than those of `test`.
"""

import hashlib
import json
import subprocess
import tomllib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEDGER = Path(__file__).with_name("voice_releases.jsonl")


class AlreadyLooked(Exception):
    """At this version; str() is one line that says when, and what looks again."""


@dataclass(frozen=True, slots=True)
class Look:
    """One line of the ledger. `date`: UTC; `heads`: SHA-256 by file name; `again`: it was not the first."""

    version: str
    language: str
    date: str
    commit: str
    heads: dict[str, str]
    again: bool


def looks(ledger: Path) -> list[Look]:
    """The earliest first; none where there is no ledger yet."""
    if not ledger.exists():
        return []
    return [Look(**json.loads(line)) for line in ledger.read_text(encoding="utf-8").splitlines()]


def look(language: str, heads: Path, ledger: Path, *, again: bool) -> Look:
    """Write a line for the version of now; AlreadyLooked for a second one, unless `again`."""
    version = version_of_now()
    before = [one for one in looks(ledger) if (one.version, one.language) == (version, language)]
    if before and not again:
        raise AlreadyLooked(
            f"release: {version} was looked at in {language!r} on {before[0].date}; --again looks once more, "
            f"and {ledger.name} says so"
        )
    found = Look(
        version,
        language,
        datetime.now(UTC).date().isoformat(),
        _commit(),
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(heads.glob("*.npz"))},
        again=bool(before),
    )
    with ledger.open("a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")
    return found


def version_of_now() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _commit() -> str:
    """The commit that is checked out, with a + where something was changed since."""

    def git(*words: str) -> str:
        command = ["git", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
