"""Plugins: found by metadata, imported by name, examined in full before they are believed."""

from __future__ import annotations

from nexus_core._plugins.offers import Offer
from nexus_core._plugins.registry import Extension, Plugin, Registry

__all__ = ["Extension", "Offer", "Plugin", "Registry"]
