"""What is said first: its text, its audio, and the cache of that audio."""
