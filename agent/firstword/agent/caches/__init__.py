"""Caches: accounts and spoken greetings that outlive the process which read or made them.

Nothing is imported here, so that who needs one of them does not pay for the other.
"""
