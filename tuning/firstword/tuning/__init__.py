"""Reads traces, explains, decides; runs anywhere but in the worker."""
