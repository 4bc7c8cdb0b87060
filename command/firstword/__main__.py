"""`python -m firstword`: the command, as `firstword` runs it."""

from firstword.command.__main__ import main

main()
