"""Which call is meant, what may be done with what is kept, and when it goes. No SQL, no path."""
