"""The tuner as a service: what `firstword tune --watch` is made of. docs/tuner.md is its page."""
