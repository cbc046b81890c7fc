"""Atoms of one scope, for whoever is already admitted and audited.

``n.atoms`` and the flows share it: ids are derived, records, edges and events made, and long texts
put away as objects, here and nowhere else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import attrs

from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._handles.objects import Objects
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from nexus_core._model.ids import atom_id, edge_id
from nexus_core._model.keys import RESERVED_ROOT
from nexus_core._model.objects import Body, ObjectAttributes
from nexus_core._model.records import Insert, Operation, Record, Remove
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole
from nexus_core._spi.spec import NAME_TOKEN, VERSION_TOKEN

INLINE_BYTES: Final = 64 << 10
TEXT: Final = "text/plain; charset=utf-8"

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_DERIVED: Final = re.compile(r"atm_[a-z2-7]{32}")


@attrs.frozen(kw_only=True)
class NewAtom:
    """One atom to be written: its text, where in the parent it came from, and free metadata.

    ``locator`` says where (page, line, row), never what; it is shown in explanations.
    """

    position: int
    text: str = attrs.field(repr=False)
    locator: Mapping[str, int | str] = attrs.field(factory=dict)
    metadata: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Atom:
    """One atom as stored. ``text`` is ``None`` where it is kept as an object; ``n.atoms.text``
    reads either."""

    id: str
    version: int
    asset: str
    parent: str
    operation: str
    operation_version: str
    parameters: Mapping[str, Any]
    position: int
    locator: Mapping[str, int | str]
    metadata: Mapping[str, Any] = attrs.field(repr=False)
    content_type: str
    size: int
    sha256: str
    text: str | None = attrs.field(repr=False)
    governance: Governance
    created_at: int
    created_by: str
    trace_id: str


@attrs.frozen
class MadeBy:
    """An operation with its version and parameters; ``canonical`` is the parameters' one form."""

    operation: str
    version: str
    parameters: Mapping[str, Any]
    canonical: str


@final
class Derivation:
    """Makes and reads atoms of one scope, for one request."""

    __slots__ = ("_gate", "_ledger", "_objects")

    def __init__(self, gate: Gate, objects: Objects) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._objects = objects

    def derive(self, parent: str, made_by: MadeBy, position: int) -> str:
        """The id an atom has."""
        return atom_id(
            self._gate.scope,
            parent=parent,
            operation=made_by.operation,
            version=made_by.version,
            parameters=made_by.canonical,
            position=position,
        )

    def insertions(
        self,
        fresh: Sequence[tuple[str, NewAtom]],
        *,
        asset: str,
        parent: str,
        made_by: MadeBy,
        governance: Governance,
        action: Action,
    ) -> list[Operation]:
        """Operations that write new atoms with their edges and one event; long texts go out first,
        as objects, so that no record ever points at nothing."""
        context = self._gate.context
        now = self._gate.now()
        common = governance.record_fields()
        flags = governance.to_data()
        operations: list[Operation] = []
        for key, atom in fresh:
            data = atom.text.encode("utf-8")
            inline = len(data) <= INLINE_BYTES
            sha256 = hashlib.sha256(data).hexdigest()
            if not inline:
                self._spill(key, data, sha256, governance)
            fields = {
                **common,
                "asset": asset,
                "parent": parent,
                "operation": made_by.operation,
                "operation_version": made_by.version,
                "position": atom.position,
                "size": len(data),
                "content_type": TEXT,
                "created_at": now,
                "created_by": context.actor.id,
            }
            body = {
                "asset": asset,
                "parent": parent,
                "operation": made_by.operation,
                "operation_version": made_by.version,
                "parameters": made_by.parameters,
                "position": atom.position,
                "locator": dict(atom.locator),
                "metadata": dict(atom.metadata),
                "content_type": TEXT,
                "size": len(data),
                "sha256": sha256,
                "text": atom.text if inline else None,
                "governance": flags,
                "created_at": now,
                "created_by": context.actor.id,
                "trace_id": context.trace_id,
            }
            operations.append(
                Insert(self._ledger.record("atoms", key, fields, body), if_exists="keep")
            )
            operations.append(self._edge_insertion(parent, key, made_by, governance, now))
        operations.append(
            self._ledger.event(
                action, governance, source_ids=[parent], result_ids=[key for key, _ in fresh]
            )
        )
        return operations

    def _edge_insertion(
        self, parent: str, child: str, made_by: MadeBy, governance: Governance, now: int
    ) -> Insert:
        fields: dict[str, str | int | float | bool] = {
            "parent": parent,
            "child": child,
            "relation": "derived",
            "created_at": now,
        }
        if governance.subject is not None:
            fields["subject"] = governance.subject
        body = {
            "operation": made_by.operation,
            "operation_version": made_by.version,
            "parameters": made_by.parameters,
            "trace_id": self._gate.context.trace_id,
        }
        return Insert(
            self._ledger.record("edges", self.edge(parent, child), fields, body),
            if_exists="keep",
        )

    def ancestors(self, records: Sequence[Record]) -> list[Record]:
        """The assets and atoms that atoms were made from, none of them among the atoms."""
        assets = {str(record.fields["asset"]) for record in records}
        known = assets | {record.id for record in records}
        found = [each for each in self._ledger.get("assets", sorted(assets)) if each is not None]
        level = list(records)
        while above := sorted({str(each.fields["parent"]) for each in level} - known):
            known.update(above)
            level = [each for each in self._ledger.get("atoms", above) if each is not None]
            found += level
        return found

    def removals(self, record: Record) -> list[Operation]:
        """Operations that delete an atom and the edge that leads to it."""
        edge = self.edge(str(record.fields["parent"]), record.id)
        return [Remove("atoms", record.id, record.version), Remove("edges", edge)]

    def discard_texts(self, records: Sequence[Record], gone: Sequence[str] = ()) -> None:
        """Delete the objects that hold the long texts of atoms, and what may be left of those
        that are ``gone`` already.

        Raises ``UnavailableError`` where one could not be deleted, and can be asked again.
        """
        if not self._gate.runtime.has(StoreRole.RAW):
            return
        long = [record.id for record in records if body_of(record)["text"] is None]
        for atom in (*long, *filter(_DERIVED.fullmatch, gone)):
            self._objects.erase(self._objects.keys(_texts(atom)))

    def edge(self, parent: str, child: str) -> str:
        """The id of the edge from a parent to an atom made from it."""
        return edge_id(self._gate.scope, parent=parent, child=child, relation="derived")

    def _spill(self, key: str, data: bytes, sha256: str, governance: Governance) -> None:
        attributes = ObjectAttributes(content_type=TEXT, metadata={}, system={})
        try:
            self._objects.store(text_key(key, sha256), Body(data), attributes, governance)
        except AlreadyExistsError:
            # The key holds the SHA-256, so what is there is this text, from a run before.
            return

    def parent(self, parent: str) -> tuple[str, Governance]:
        """The asset that a parent belongs to, and its governance; raises ``NotFoundError``."""
        record = self._ledger.get("assets", [parent])[0]
        if record is not None:
            return parent, Governance.from_data(body_of(record)["governance"])
        record = self._ledger.get("atoms", [parent])[0]
        if record is None:
            raise NotFoundError("no such parent", hint="register the asset or write the atom first")
        atom = atom_of(record)
        return atom.asset, atom.governance


def check_operation(operation: object, version: object, parameters: Mapping[str, Any]) -> MadeBy:
    """Return the operation if it is named, versioned and its parameters are plain JSON."""
    if type(operation) is not str or NAME_TOKEN.fullmatch(operation) is None:
        raise InvalidArgumentError("the operation does not match [a-z0-9][a-z0-9_.-]{0,62}")
    if type(version) is not str or VERSION_TOKEN.fullmatch(version) is None:
        raise InvalidArgumentError("the operation's version is not a version token")
    canonical = check_json(parameters, "the parameters")
    return MadeBy(operation, version, dict(parameters), canonical)


def check_json(value: Mapping[str, Any], what: str) -> str:
    """Return the canonical JSON of a mapping; raise ``InvalidArgumentError`` if it has none."""
    try:
        data = dict(value)
        if all(type(key) is str for key in data):
            return canonical_json(data).decode("utf-8")
    except (TypeError, ValueError, RecursionError):
        pass
    # Raised outside the handler: an encoding error holds the whole text that it failed on.
    raise InvalidArgumentError(f"{what} cannot be written as JSON")


def check_new(atom: object) -> NewAtom:
    """Return the atom if it is well-formed."""
    if type(atom) is not NewAtom:
        raise InvalidArgumentError("the batch holds something that is not a NewAtom")
    if type(atom.position) is not int or not 0 <= atom.position < 2**31:
        raise InvalidArgumentError("an atom's position is not a non-negative integer")
    if type(atom.text) is not str:
        raise InvalidArgumentError("an atom's text is not a str")
    if _SURROGATE.search(atom.text):
        raise InvalidArgumentError("an atom's text holds a lone surrogate")
    check_json(atom.locator, "the locator")
    check_json(atom.metadata, "the metadata")
    return atom


def text_key(atom: str, sha256: str) -> str:
    """Object key of an atom's text where that is not inline.

    It names the text as well: what a failed write left behind is never taken for another text.
    """
    return _texts(atom) + sha256


def _texts(atom: str) -> str:
    return f"{RESERVED_ROOT}/atoms/{atom}/"


def atom_of(record: Record) -> Atom:
    """Read an atom back from its record."""
    body = body_of(record)
    return Atom(
        id=record.id,
        version=record.version,
        asset=body["asset"],
        parent=body["parent"],
        operation=body["operation"],
        operation_version=body["operation_version"],
        parameters=body["parameters"],
        position=body["position"],
        locator=body["locator"],
        metadata=body["metadata"],
        content_type=body["content_type"],
        size=body["size"],
        sha256=body["sha256"],
        text=body["text"],
        governance=Governance.from_data(body["governance"]),
        created_at=body["created_at"],
        created_by=body["created_by"],
        trace_id=body["trace_id"],
    )
