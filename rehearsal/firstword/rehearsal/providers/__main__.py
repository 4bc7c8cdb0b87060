"""`python -m firstword.rehearsal.providers`: the provider simulators as a process of their own."""

import sys

from firstword.rehearsal.providers.server import main

sys.exit(main())
