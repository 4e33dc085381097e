"""`sipagent check`: all that can be known of a call before there is one.

It changes nothing.
"""
