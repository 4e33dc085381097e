"""Who is rung: the board of all operators, the ways to it, and what it has lent to which call."""
