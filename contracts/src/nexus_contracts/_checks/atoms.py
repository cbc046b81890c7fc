"""Checks of the role ``atoms``."""
