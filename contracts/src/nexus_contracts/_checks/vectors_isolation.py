"""Checks of isolation in the role ``vectors``."""
