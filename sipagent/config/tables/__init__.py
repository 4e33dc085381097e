"""The tables of config.toml: one class a table, one attribute a key, under the names of the file.

Every key says in `description` what it takes; the error for a wrong value ends with it.
"""
