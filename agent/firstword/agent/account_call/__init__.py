"""The shipped worker's call: any agent's call, plus its account, its row in the store, and the greeting of the next
call.
"""
