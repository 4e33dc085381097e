"""The supervisor's children, the messages to and from them, and what they share."""
