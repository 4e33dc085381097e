"""The driver of one process: reports in, the call's flow decides, commands out.

It knows the engine by its protocol alone.
"""
