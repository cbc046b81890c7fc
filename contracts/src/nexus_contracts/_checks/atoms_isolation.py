"""Checks of isolation in the role ``atoms``."""
