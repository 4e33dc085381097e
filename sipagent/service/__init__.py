"""`sipagent run`: the parts put together, reloaded and taken apart; and the figures of the whole.

In one process, or under a supervisor. No call is decided here.
"""
