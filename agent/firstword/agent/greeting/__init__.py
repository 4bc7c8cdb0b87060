"""The greeting: its text, its audio, and the cache of that audio."""
