"""What became of the keys of rows that were forgotten, where a database needs them to forget."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many keys were removed, how many (or bundles with some) are still there, and why: `problem`."""

    keys: int = 0
    left: int = 0
    problem: str = ""
