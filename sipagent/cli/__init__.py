"""The command line: one module a command, or a family of them, and what they share.

`main` names them all; `program`, `terminal` and `options` are shared.
"""
