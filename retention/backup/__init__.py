"""A copy of all that is kept, made while calls go on, and put back into an empty place."""
