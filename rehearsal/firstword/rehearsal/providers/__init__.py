"""Simulated providers that speak the real ones' protocols, so that a rehearsal runs the real plugins without a key.

`server.py` runs OpenAI and Deepgram, `store.py` is the account store, `default.toml` says how slow each of them is.
"""
