"""Voices of other languages that say French: festival's, each with its own phones."""
