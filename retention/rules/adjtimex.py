"""Whether the kernel believes its clock: asks adjtimex(2), which changes nothing.

The kernel begins each boot unsynchronised. It is so again when somebody sets the clock by hand, and some nine
hours after the last update by the program that disciplines it (chrony, ntpd, systemd-timesyncd, a
hypervisor's or PTP's daemon). So it can be trusted as far as that program: root can forge it, and so can
anyone between this machine and its time server, if NTP is not authenticated. It says nothing about a wrong
hardware clock that no program has disciplined.
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
    """False, too, if the kernel cannot be asked: in a container that may not call it, on another system."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return False
    told = _Timex(modes=_OFFSET_ONLY)
    return int(ask(ctypes.byref(told))) >= 0 and believes(told.status, told.maxerror)


def believes(status: int, maxerror_us: int) -> bool:
    """Decides from what the kernel tells. Some daemons leave the bit set, so that the kernel does not write
    to the hardware's clock, but still tell the error."""
    return not status & _STA_UNSYNC or maxerror_us < _LARGEST_ERROR_US
