"""Proves it: the local stack, callers, provider simulators, and the rehearsal that puts them together."""
