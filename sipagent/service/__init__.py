"""`sipagent run`: builds, reloads and ends all parts; and the figures of the whole.

In one process (`one_process`), or under a supervisor: `supervision` puts it together, `supervisor` watches,
`edge` looks after Kamailio, and its `children` are `worker`, `registrar` and `detector`. No call is decided
here.
"""
