"""Whether a process may have real-time priority, and one that may not."""

import os
import resource

NOBODY = 65534


def real_time_is_allowed() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def forbid_real_time() -> None:
    """To this process, for good."""
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    if os.geteuid() == 0:
        os.setresuid(NOBODY, NOBODY, NOBODY)
