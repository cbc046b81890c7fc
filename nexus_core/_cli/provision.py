"""Creating what the stores need: directories, schemas, buckets. Only an explicit command does."""

from __future__ import annotations

import attrs

from nexus_core import ConfigurationError, NexusError, Problem
from nexus_core._config import Config
from nexus_core._doctor.proofs import prove_stores
from nexus_core._handles.deployment import wall_clock
from nexus_core._spi.spec import Runtime


def provision(config: Config) -> list[str]:
    """Create what every routed store needs, and return a line for each thing that was made.

    Then what only a write can tell of a store is proved, where that is not known yet.

    Idempotent. What one store cannot do keeps no other from being provisioned; everything that
    went wrong is raised together at the end (``ConfigurationError``).
    """
    made: list[str] = []
    problems: dict[Problem, None] = {}
    for store in config.stores.values():
        runtime = Runtime(store=store.name, base=config.base, now=wall_clock)
        for role, spec in store.specs.items():
            if spec.provision is None:
                continue
            found: tuple[Problem, ...] = ()
            try:
                lines = spec.provision(store.settings[role], runtime)
                made += [f"store {store.name}: {line}" for line in lines]
            except ConfigurationError as error:
                found = error.problems
            except NexusError as error:
                found = (Problem(path="", what=error.message, fix=error.hint or "see above"),)
            for problem in found:
                path = ".".join(filter(None, ("stores", store.name, problem.path)))
                problems[attrs.evolve(problem, path=path)] = None
    for check in () if problems else prove_stores(config, missing_only=True):
        problems.update(dict.fromkeys(check.problems))
        made += [f"{check.area}: {check.law}"] if check.ok else []
    if problems:
        raise ConfigurationError(list(problems))
    return made
