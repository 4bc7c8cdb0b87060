"""The command: a file a subcommand, thin; asks the packages below and shows what they answer."""
