"""Faults put into the program one at a time, and which test finds each: see `__main__`."""
