"""What accounts and tokens have in common, as columns of a row."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from retention.accounts.account import AccountError
from retention.recording import from_text
from retention.storage.keys import PublicKey, public_key, public_line


def common(row: dict[str, Any]) -> dict[str, Any]:
    """Roles, key and the time of making. Raises KeysError for a damaged key."""
    return {
        "roles": tuple(json.loads(row["roles"])),
        "key": None if row["key"] is None else public_key(row["key"], f"the key of {row['name']}"),
        "created_at": from_text(row["created_at"]),
    }


def moment(text: str | None) -> datetime | None:
    """A time that may be absent."""
    return None if text is None else from_text(text)


def roles_text(roles: Sequence[str]) -> str:
    """Raises AccountError for none."""
    if not roles:
        raise AccountError("no role: it could do nothing")
    return json.dumps(list(dict.fromkeys(roles)))


def key_text(key: PublicKey | None) -> str | None:
    """The line of a public key's file."""
    return None if key is None else public_line(key)
