"""Where `init` writes, and whose that is.

In /etc/sipagent it is an installation: the service's user reads the configuration, and what is recorded lies
in /var/lib/sipagent. Anywhere else everything lies together, and is of whoever calls `init`.
"""

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from sipagent.cli.usual import SERVICE, SYSTEM_CONFIG

STATE = Path("/var/lib/sipagent")


@dataclass(frozen=True, slots=True)
class Account:
    """A user and the group of that name."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`state`: the folder of what is recorded, None for that of the configuration. `service`: who runs the
    agent, None where that is not another user than ours."""

    folder: Path
    state: Path | None = None
    service: Account | None = None


def place_of(directory: Path) -> Place:
    """The place that a directory is."""
    if directory.absolute() != SYSTEM_CONFIG.parent and directory.resolve() != SYSTEM_CONFIG.parent:
        return Place(folder=directory)
    return Place(folder=directory, state=STATE, service=_service() if os.geteuid() == 0 else None)


def _service() -> Account | None:
    try:
        return Account(pwd.getpwnam(SERVICE).pw_uid, grp.getgrnam(SERVICE).gr_gid)
    except KeyError:
        return None
