"""The client library, imported when first needed."""

from __future__ import annotations

import warnings
from typing import Any


def library() -> Any:
    """The library's package, with its exceptions and those of what it stands on."""
    # What it imports warns of the future of other libraries, whatever filters say, and that is no
    # concern of a user's.
    with warnings.catch_warnings(record=True):
        import weaviate
        import weaviate.classes
        import weaviate.connect.v4
        import weaviate.exceptions
    return weaviate


def classes() -> Any:
    """The library's own classes."""
    return library().classes
