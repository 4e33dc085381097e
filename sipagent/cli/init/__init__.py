"""`sipagent init`: what it asks or is told, and what it writes."""
