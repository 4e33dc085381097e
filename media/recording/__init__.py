"""A recording in the making: two legs aligned, written in chunks, sealed, made one file."""
