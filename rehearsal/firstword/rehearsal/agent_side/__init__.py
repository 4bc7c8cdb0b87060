"""What runs in the processes of an agent that is audited: in its own Python, which need not have firstword.

`firstword.rehearsal.agent_process` copies this package, as `firstword.agent_side`, beside telemetry into a folder that goes on that Python's
path. So it imports the standard library, itself and `firstword.telemetry` alone.
"""
