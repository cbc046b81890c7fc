"""Checks of the role ``audit``."""
