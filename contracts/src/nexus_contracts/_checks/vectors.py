"""Checks of the role ``vectors``."""
