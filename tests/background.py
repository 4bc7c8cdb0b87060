"""Starts programs as a script or `nohup` does, however the tests themselves were started."""

IN_BACKGROUND = ("/usr/bin/env", "--ignore-signal=INT", "--default-signal=HUP")
"""As a script does with `program &`: it ignores SIGINT until it says otherwise."""
UNDER_NOHUP = ("/usr/bin/env", "--ignore-signal=HUP")
IN_A_TERMINAL = ("/usr/bin/setsid",)
"""In a process group of its own, to which a terminal would send Ctrl-C."""
