"""The `ringbook` command, one module a command group."""
