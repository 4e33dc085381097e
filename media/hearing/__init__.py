"""Hears keys, speech and refusals in the sound that a leg sends. It knows neither recordings nor calls."""
