"""What is heard, and what is recorded of it: keys, speech, the tap. It knows sound, but no calls."""
