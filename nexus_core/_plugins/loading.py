"""Importing the module that an entry point names."""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Final

from nexus_core._model.errors import PluginLoadError
from nexus_core._plugins.faults import Fault, broken, describe
from nexus_core._plugins.offers import Offer
from nexus_core._spi.spec import NAME_TOKEN

_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def import_offer(offer: Offer) -> ModuleType | Fault:
    """Import the offered module; anything it raises but ``KeyboardInterrupt`` becomes a fault.

    Also ``SystemExit``: a plugin that leaves the process while it is imported is a broken plugin.
    """
    if NAME_TOKEN.fullmatch(offer.name) is None:
        return broken(
            f"the family name {offer.name!r} is not usable",
            f"match {NAME_TOKEN.pattern} in the entry point",
        )
    if _MODULE.fullmatch(offer.module) is None:
        return broken(
            f"the entry point {offer.name!r} names {offer.module!r}, which is not a module",
            "let the entry point name the module that has the hooks, without ':' or '['",
        )
    try:
        module: object = importlib.import_module(offer.module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit too: see above
        return Fault(
            PluginLoadError,
            f"importing {offer.module} failed: {describe(error, offer.module)}",
            "repair or reinstall the distribution, or take its name out of the configuration",
        )
    if not isinstance(module, ModuleType):
        # A module may replace itself in sys.modules; pluggy runs the properties of such objects.
        return broken(
            f"importing {offer.module} gives an object that is not a module",
            "let the entry point name a plain module",
        )
    return module
