"""Widgets of the terminal UI, one a file."""
