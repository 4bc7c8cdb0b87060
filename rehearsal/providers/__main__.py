"""`python -m rehearsal.providers`: the provider simulators as a process of their own."""

import sys

from rehearsal.providers.server import main

sys.exit(main())
