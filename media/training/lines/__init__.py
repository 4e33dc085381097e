"""What lies between a mouth and the agent: rooms and what else sounds in them, coders and what gets lost."""
