"""Where a configuration is looked for that nobody named, and whether what is found there is followed.

Who writes a configuration decides what `sipagent` removes and runs. So one that was only found is followed
where nobody but root, the user who runs `sipagent` and the service's user can change or replace it. It is
judged as sshd judges a key (StrictModes in sshd_config(5)), but a private group, as Debian gives each user,
may write.
"""

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from gettext import gettext as _
from pathlib import Path

from sipagent.config.errors import ConfigError
from sipagent.languages.system import fault

LOCAL_CONFIG = Path("config.toml")
SYSTEM_CONFIG = Path("/etc/sipagent/config.toml")
SERVICE = "sipagent"  # the service's user
_ACL = "system.posix_acl_access"


def usual_config() -> Path:
    """The first usual place with a configuration, which may be followed.

    Raises ConfigError, which names all places, or why the one that is found is not followed.
    """
    faults = []
    for path in (LOCAL_CONFIG, SYSTEM_CONFIG):
        try:
            path.lstat()
        except OSError as error:  # also for a folder that this user may not read
            faults.append(fault(error).lower())
        else:
            break
    else:
        here, there = faults
        problem = _("{here}; {file}: {there}").format(here=here, file=SYSTEM_CONFIG, there=there)
        ways = _("either, or a path by --config or SIPAGENT_CONFIG")
        raise ConfigError(LOCAL_CONFIG, "", problem, ways)
    if (weak := weakness(path, trusted())) is not None:
        raise ConfigError(path, "", weak, _("one that you name: --config {file}").format(file=path))
    return path


def trusted() -> frozenset[int]:
    """root, this user and the service's. Not the one who called sudo: that command may be all they may do."""
    try:
        return frozenset((0, os.geteuid(), pwd.getpwnam(SERVICE).pw_uid))
    except KeyError:
        return frozenset((0, os.geteuid()))


def weakness(path: Path, trusted: frozenset[int]) -> str | None:
    """Why somebody else than the `trusted` decides what a file says; None if nobody does."""
    link, target = Path(os.path.realpath(path.parent), path.name), Path(os.path.realpath(path))
    for name in dict.fromkeys((link, target)):
        for place in (name, *name.parents):
            try:
                found = place.lstat()
            except FileNotFoundError:
                continue  # a link to nothing; whoever reads it says so
            if found.st_uid not in trusted:
                return _("{place} belongs to {user}").format(place=place, user=user_name(found.st_uid))
            # In a sticky folder nobody else renames what is theirs, but anybody adds: a database, a prompt.
            kept = found.st_mode & stat.S_ISVTX and place not in (name, name.parent)
            if not kept and _is_open(place, found, trusted):
                return _("others may write {place}").format(place=place)
    return None


def user_name(uid: int) -> str:
    """The user's name, or else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_open(place: Path, found: os.stat_result, trusted: frozenset[int]) -> bool:
    """Whether others than the `trusted` may write."""
    if stat.S_ISLNK(found.st_mode):
        return False
    if found.st_mode & stat.S_IWOTH:
        return True
    shared = bool(found.st_mode & stat.S_IWGRP)
    return shared and (_has_list(place) or not _is_private(found.st_gid, trusted))


def _has_list(place: Path) -> bool:
    """Whether there is an access list, for whose users the group's bit stands as well (acl(5))."""
    try:
        return _ACL in os.listxattr(place)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return False
        raise


def _is_private(gid: int, trusted: frozenset[int]) -> bool:
    """Whether a group is that of one trusted user, with the same name, and nobody else is in it.

    The name counts, since a directory service need not list who has a group as the first one.
    """
    try:
        group = grp.getgrgid(gid)
        owner = pwd.getpwnam(group.gr_name)
    except KeyError:
        return False
    members = {
        owner.pw_uid,
        *_uids(group.gr_mem),
        *(one.pw_uid for one in pwd.getpwall() if one.pw_gid == gid),
    }
    return owner.pw_gid == gid and members <= trusted


def _uids(names: list[str]) -> Iterator[int]:
    """Of users, -1 for a name that no user has yet."""
    for name in names:
        try:
            yield pwd.getpwnam(name).pw_uid
        except KeyError:
            yield -1
