"""Observes the starts of an agent whose file has `import firstword.telemetry.observe`, as FIRSTWORD_OBSERVE=1 does.

The variable overrides it: 0 switches it off, a share such as 0.05 observes that part of the sessions.
"""

from firstword.telemetry.switch import register

register(default="1")
