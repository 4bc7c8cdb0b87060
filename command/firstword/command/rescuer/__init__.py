"""What `firstword rescue` does: it looks at LiveKit's rooms, and calls an agent to a caller whose agent has died."""
