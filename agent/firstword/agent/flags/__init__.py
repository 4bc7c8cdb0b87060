"""Which improvements are on: the ten flags, the file they come from, and what a session is assigned."""
