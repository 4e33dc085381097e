"""Commands for what is set up: one module a command, or a family of them."""
