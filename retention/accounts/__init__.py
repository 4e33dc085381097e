"""Who may log in, and what programs may: accounts and tokens, in a database of their own beside the other."""
