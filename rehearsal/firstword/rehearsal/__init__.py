"""Rehearses and audits agents: the local stack, callers, provider simulators, and the runs that put them together."""
