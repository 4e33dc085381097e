"""How a recording is made: two legs are aligned, written in chunks, sealed, and become one file."""
