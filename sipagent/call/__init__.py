"""What happens to a call: pure policy, its facts and its commands.

Start in `flow`. It knows no other room: no clock, no thread, no socket.
"""
