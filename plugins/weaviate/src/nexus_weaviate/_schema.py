"""Collections as this store makes them, and whether one on the server is such."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nexus_core.spi import IndexDefinition, IntegrityError, Metric, Outcome
from nexus_weaviate._engine import Engine, translated
from nexus_weaviate._filters import HAS, field_property
from nexus_weaviate._library import library

KEY: Final = "nx_key"
STAMP: Final = "nx_stamp"
FIELDS: Final = "nx_fields"
SHIFT: Final = "nx_shift"
SIZE: Final = "nx_size"

SLOT: Final = "nx_slot"
DEFINITION: Final = "nx_definition"
INCARNATION: Final = "nx_incarnation"
STATE: Final = "nx_state"

# The metrics' names on the server; its distances are the definition's, up to rounding.
METRICS: Final[Mapping[Metric, str]] = {"cosine": "cosine", "dot": "dot", "l2sq": "l2-squared"}


def rows_schema(name: str, definition: IndexDefinition) -> dict[str, Any]:
    """The collection of a definition's rows: a property for each field that can be filtered."""
    texts = [
        _text(field_property(field), several=kind == "str[]")
        for field, kind in sorted(definition.schema.items())
    ]
    own = [
        _text(KEY),
        _text(HAS, several=True),
        _text(STAMP, indexed=False),
        _text(FIELDS, indexed=False),
        _integer(SHIFT, indexed=False),
        _integer(SIZE, indexed=True),
    ]
    return _collection(name, METRICS[definition.metric], [*own, *texts])


def index_schema(name: str) -> dict[str, Any]:
    """The collection of the scopes' lists of indexes. Its objects have no vectors."""
    properties = [
        _text(SLOT),
        _text(DEFINITION, indexed=False),
        _text(INCARNATION, indexed=False),
        _text(STATE, indexed=False),
    ]
    return _collection(name, "cosine", properties)


def _collection(name: str, metric: str, properties: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "class": name,
        "vectorizer": "none",
        # A scan of all vectors, exact: the graph index is not.
        "vectorIndexType": "flat",
        "vectorIndexConfig": {"distance": metric, "skipDefaultQuantization": True},
        "multiTenancyConfig": {
            "enabled": True,
            "autoTenantCreation": False,
            "autoTenantActivation": False,
        },
        # Searches read one replica, and the next read must see a write.
        "replicationConfig": {"factor": 1},
        "invertedIndexConfig": {"stopwords": {"preset": "none"}},
        "properties": properties,
    }


def _text(name: str, *, several: bool = False, indexed: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "dataType": ["text[]" if several else "text"],
        "tokenization": "field",
        "indexFilterable": indexed,
        "indexSearchable": False,
        "indexRangeFilters": False,
    }


def _integer(name: str, *, indexed: bool) -> dict[str, Any]:
    return {
        "name": name,
        "dataType": ["int"],
        "indexFilterable": indexed,
        "indexSearchable": False,
        "indexRangeFilters": False,
    }


def ensure_collection(engine: Engine, schema: Mapping[str, Any]) -> bool:
    """Make a collection unless it is there; whether this call made it.

    Raises ``IntegrityError`` where one is there that this store would not have made.
    """
    name = str(schema["class"])
    if is_there(engine, name):
        require_as_made(engine, schema)
        return False
    with translated(Outcome.UNKNOWN):
        try:
            engine.client.collections.create_from_dict(dict(schema))
        except library().exceptions.UnexpectedStatusCodeError:
            # Somebody else may just have made it.
            if not is_there(engine, name):
                raise
            require_as_made(engine, schema)
            return False
    require_as_made(engine, schema)
    return True


def is_there(engine: Engine, name: str) -> bool:
    """Whether the server has the collection."""
    client = engine.client
    with translated():
        return client.collections.exists(name)


def require_as_made(engine: Engine, schema: Mapping[str, Any]) -> None:
    """Raise ``IntegrityError`` unless a collection is as ``schema`` makes it."""
    client = engine.client
    with translated():
        found = client.collections.use(str(schema["class"])).config.get()
    tenancy, index = found.multi_tenancy_config, found.vector_index_config
    properties = {
        each.name: (
            str(getattr(each.data_type, "value", each.data_type)),
            each.index_filterable,
            None if each.tokenization is None else each.tokenization.value,
        )
        for each in found.properties
    }
    fine = (
        tenancy.enabled
        and not tenancy.auto_tenant_creation
        and not tenancy.auto_tenant_activation
        and found.replication_config.factor == 1
        and getattr(found.vector_index_type, "value", None) == schema["vectorIndexType"]
        and index is not None
        and getattr(index, "quantizer", None) is None
        and getattr(index, "distance_metric", None) == schema["vectorIndexConfig"]["distance"]
        and properties
        == {
            each["name"]: (each["dataType"][0], each["indexFilterable"], each.get("tokenization"))
            for each in schema["properties"]
        }
    )
    if not fine:
        raise IntegrityError(
            "a collection of the vector store is not as the store makes it",
            hint="it was made or changed by something else; restore it from a backup",
        )
