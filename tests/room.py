"""A folder with the shipped configuration and prompts, to be changed and spoilt."""

import re
import shutil
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sipagent.config.load import Config, parse
from tests.configured import with_keys

ROOT = Path(__file__).parent.parent


class Room:
    """config.toml as it is shipped, without sealing, and both languages."""

    def __init__(self, folder: Path) -> None:
        for language in ("fr", "en"):
            shutil.copytree(
                ROOT / "prompts" / language,
                folder / "prompts" / language,
                ignore=shutil.ignore_patterns("*.16k.wav"),
            )
        shutil.copy(ROOT / "prompts/hold.wav", folder / "prompts")
        self.folder = folder
        text = (ROOT / "config.toml").read_text(encoding="utf-8")
        self.write(re.sub(r"^(\[\w+\])\s+#.*$", r"\1", text, flags=re.MULTILINE))
        self.set("recording", "recipients = []")

    @property
    def path(self) -> Path:
        return self.folder / "config.toml"

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def write(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")

    def set(self, table: str, keys: str) -> None:
        """Put keys into a table, in place of those of the same names."""
        self.write(with_keys(table, keys, self.text))

    def config(self) -> Config:
        return parse(self.text, self.path)

    def speak(self, language: str, *, opt_in: bool) -> None:
        self.set("service", f'language = "{language}"')
        self.write(self.text.replace("prompts/fr/", f"prompts/{language}/"))
        if opt_in:
            self.set("refusal", 'mode = "opt_in"')
            self.set("prompts", f'notice = "prompts/{language}/notice_opt_in.wav"')

    def in_english_too(self) -> None:
        self.set("prompts", 'languages = { "+33323063007" = "en" }')
        self.set("prompts.en", 'notice = "prompts/en/notice.wav"')

    def words(self, name: str, language: str = "fr") -> Path:
        return self.folder / f"prompts/{language}/{name}.txt"

    def say(self, words: str, name: str = "notice", language: str = "fr") -> None:
        self.words(name, language).write_text(words, encoding="utf-8")

    def sound(self, name: str = "notice") -> tuple[Path, NDArray[np.float64], int]:
        """A French prompt: path, samples from -1 to 1, rate in Hz."""
        path = self.words(name).with_suffix(".wav")
        samples, rate = soundfile.read(path)
        return path, samples, rate
