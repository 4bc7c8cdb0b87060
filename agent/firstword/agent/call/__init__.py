"""One call: who the caller is, what may end it, and its state."""
