"""What may be done with what is kept, and when it goes: purge, holds, uses, deletions. No SQL, no path."""
