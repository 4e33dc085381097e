"""Whether the kernel believes its clock: adjtimex(2), which asks and changes nothing.

The kernel begins each boot unsynchronised, and is so again when somebody sets the clock by hand, and some
nine hours after the last word of whoever disciplines it (chrony, ntpd, systemd-timesyncd, a hypervisor's or
PTP's daemon). So its word is worth what theirs is: root can forge it, and so can, where NTP is not
authenticated, whoever sits between this machine and its time server. It says nothing of a clock that is
wrong in hardware alone: nobody has disciplined that.
"""

import ctypes

_OFFSET_ONLY = 0  # `modes`: nothing is set
_STA_UNSYNC = 0x0040
_LARGEST_ERROR_US = 16_000_000  # NTP_PHASE_LIMIT: the kernel has no idea


class _Timex(ctypes.Structure):
    """`struct timex`, as far as it is read, and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def is_synchronised() -> bool:
    """False, too, where nobody can be asked: in a container that may not call it, on another system."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return False
    told = _Timex(modes=_OFFSET_ONLY)
    return int(ask(ctypes.byref(told))) >= 0 and believes(told.status, told.maxerror)


def believes(status: int, maxerror_us: int) -> bool:
    """Of what the kernel tells. Some daemons leave the bit set, so that nobody writes to the hardware's
    clock, and tell the error all the same."""
    return not status & _STA_UNSYNC or maxerror_us < _LARGEST_ERROR_US
