"""What is heard in what a leg sends: keys, speech, refusals. It knows sound, but no recordings and no
calls."""
