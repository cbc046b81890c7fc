"""Checks of isolation in the role ``audit``."""
