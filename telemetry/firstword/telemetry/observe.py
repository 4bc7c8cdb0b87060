"""`import firstword.telemetry.observe` in an agent's file observes its starts, as FIRSTWORD_OBSERVE=1 does.

The variable goes before: 0 switches it off, a share such as 0.05 observes so many of the sessions.
"""

from firstword.telemetry.switch import register

register(default="1")
