"""The policy of a call, with its facts and its commands: pure.

Start in `flow`. It knows no other room: no clock, no thread, no socket.
"""
