"""A bundle: the keys of some hundred rows in one object of the vault, JSON with all bytes in base64:

    {"version": "sipagent-row-keys-1", "bundle": BUNDLE, "revision": 7, "keys": {NUMBER: <32 bytes>, …}}

It never changes: keys that come or go make the next revision, in place of the one before.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex

from retention.storage.keys import KEY_BYTES, decode, encode

BUNDLES = "rows"  # what their names begin with
MOST = 500  # keys
_VERSION = "sipagent-row-keys-1"

Keys = Mapping[str, bytes]  # of a bundle, by their numbers


class BundleError(Exception):
    """An object that is no bundle, or another one; `str()` is one line."""


@dataclass(frozen=True, slots=True)
class Revision:
    """Which revision of a bundle; `version` is what the store calls it."""

    bundle: str
    number: int
    version: str = ""

    @property
    def name(self) -> str:
        """The object's name."""
        return f"{BUNDLES}/{self.bundle}/{self.number}"


def new_number() -> str:
    """What a key is called in its bundle: 64 random bits in hex, so that no number comes back."""
    return token_hex(8)


def written(revision: Revision, keys: Keys) -> bytes:
    """The object."""
    fields = {
        "version": _VERSION,
        "bundle": revision.bundle,
        "revision": revision.number,
        "keys": {number: encode(key) for number, key in keys.items()},
    }
    return json.dumps(fields).encode() + b"\n"


def read(revision: Revision, content: bytes) -> Keys:
    """The keys in an object. Raises BundleError."""
    try:
        fields = json.loads(content)
        told = (fields["version"], fields["bundle"], fields["revision"])
        if told != (_VERSION, revision.bundle, revision.number):
            raise ValueError(told)
        return {number: _key(number, text) for number, text in fields["keys"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{revision.name}: is no bundle of keys, or damaged") from error


def _key(number: str, text: object) -> bytes:
    key = decode(text)
    if key is None or len(key) != KEY_BYTES:
        raise ValueError(number)
    return key
