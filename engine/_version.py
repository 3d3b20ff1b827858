"""Ringbook's version, read by the build and by ``ringbook --version``."""

__version__ = "0.1.0"
