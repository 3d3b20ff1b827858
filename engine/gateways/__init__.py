"""Where orders go: the paper venue and, later, exchanges."""
