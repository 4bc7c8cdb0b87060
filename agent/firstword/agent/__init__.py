"""The worker: all that runs in production."""
