"""What goes on after the greeting: components, assistant, events, and the apology when it fails."""
