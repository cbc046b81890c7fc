"""Answers that are no results."""

from __future__ import annotations


class Refusal(Exception):  # an answer, not an accident
    """What is answered in place of a result."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
