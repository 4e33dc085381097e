"""Commands for what is kept: one module a command, or a family of them."""
