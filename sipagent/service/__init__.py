"""`sipagent run`: builds, reloads and ends all parts; and the figures of the whole.

In one process, or under a supervisor. No call is decided here.
"""
