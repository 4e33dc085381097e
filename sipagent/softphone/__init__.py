"""A scripted telephone in plain sockets, for the demo and the tests.

It shares no code with the engine.
"""
