"""Who asks: logins, their sessions, tokens, and what keeps others from acting in their place."""
