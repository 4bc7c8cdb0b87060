"""Accounts: whom the agent speaks for, and what the greeting and the conversation need to know of them.

Nothing is imported here, so that who needs only the data (`model`) does not pay for the database (`store`).
"""
