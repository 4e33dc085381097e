"""config.toml as frozen values, and what is read by the same rules: hours, samples, numbers.

Nothing that runs a call may come in.
"""
