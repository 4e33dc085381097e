"""What is heard in what a leg sends: keys, speech, refusals. It knows sound; no recording, no call."""
