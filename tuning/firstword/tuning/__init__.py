"""Reads traces, explains them, and decides about flags; it runs anywhere but in the worker."""
