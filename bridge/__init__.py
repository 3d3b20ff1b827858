"""ZeroMQ and msgpack: the door for external strategies, the terminal UI and control."""
