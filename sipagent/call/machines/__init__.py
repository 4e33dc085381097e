"""Small machines that a call is made of, each with a state of its own.

They know the facts, and neither the flow nor each other's steps.
"""
