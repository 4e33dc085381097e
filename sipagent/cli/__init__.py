"""The command line: what its commands share, and how they are found.

`main` names them all.
"""
