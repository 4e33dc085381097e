"""What is heard, and what is written of it: keys, speech, the tap. It knows sound, and no call."""
