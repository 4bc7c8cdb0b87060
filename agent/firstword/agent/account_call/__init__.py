"""The shipped worker's call: the account that it is of, its row, what is written for the next one; on top of any agent's call."""
