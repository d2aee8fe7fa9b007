"""The command line: one module per family of commands, all heavy imports inside the commands."""
