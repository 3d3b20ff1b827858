"""The daemon: configuration, processes, shared-memory records and the engine loop."""
