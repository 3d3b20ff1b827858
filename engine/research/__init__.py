"""Runs that are kept, compared and swept."""
