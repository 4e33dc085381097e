"""How the page is served: connections, TLS, and what protects every answer."""
