"""Checks that all roles share."""
