"""The `firstword` command: one thin file for each subcommand, which asks the packages below and shows what they answer."""
