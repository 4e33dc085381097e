"""What commands, the page and the interface for programs ask for in one way, and its JSON."""
