"""Who reaches the library: filters of its sockets, and rules for requests before its layers see them."""
