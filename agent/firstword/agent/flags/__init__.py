"""The ten flags of the improvements, the file they come from, and which of them a session gets."""
