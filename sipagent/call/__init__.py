"""The policy of a call, with its facts and its commands: pure.

Start in `flow`. It imports nothing of ours outside this folder, and knows no clock, no thread, no socket.
"""
