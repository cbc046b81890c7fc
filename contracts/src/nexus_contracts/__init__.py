"""The conformance suite for Nexus storage plugins.

This release fixes the distribution's name and its place beside the core, and holds no checks yet:
nothing here may be taken as proof that a backend keeps its promises.
"""

from __future__ import annotations

from typing import Final

__all__ = ["__version__"]

__version__: Final = "0.1.0"
