"""What people type, as values: for commands, the page and the interface for programs."""
