"""What makes a start a trace, usable by any LiveKit agent; imports nothing here, since what a worker imports is time."""
