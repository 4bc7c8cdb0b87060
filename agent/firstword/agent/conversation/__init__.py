"""What goes on after the greeting: components, assistant, events, keys and resumption data."""
