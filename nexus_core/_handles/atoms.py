"""``n.atoms``: derived pieces of assets, with their parents and the operation that made them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, final

import attrs

from nexus_core._handles.assets import query_page
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._handles.raw import RawHandle, check_limit
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionFailedError,
)
from nexus_core._model.filters import And, Eq, Filter
from nexus_core._model.ids import atom_id, check_id, edge_id
from nexus_core._model.keys import RESERVED_ROOT
from nexus_core._model.objects import Body, ObjectAttributes
from nexus_core._model.records import Insert, Operation, Record, Remove, Replace, Require
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole
from nexus_core._spi.spec import NAME_TOKEN, VERSION_TOKEN

INLINE_BYTES: Final = 64 << 10
MAX_ATOMS: Final = 2000
TEXT: Final = "text/plain; charset=utf-8"


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


@attrs.frozen(kw_only=True)
class AtomWritten:
    """What became of one atom of a batch: its id, and whether it is new."""

    id: str
    created: bool


@attrs.frozen(kw_only=True)
class AtomPage:
    """One page of atoms in id order; ``cursor`` is ``None`` when nothing is left."""

    items: tuple[Atom, ...]
    cursor: str | None


@final
class AtomsHandle:
    """The atoms of one scope."""

    __slots__ = ("_gate", "_ledger", "_raw")

    def __init__(self, gate: Gate, raw: RawHandle) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._raw = raw

    def put(
        self,
        parent: str,
        atoms: Sequence[NewAtom],
        *,
        kind: str,
        space: str,
        operation: str,
        version: str,
        parameters: Mapping[str, Any] | None = None,
        pii_flags: Iterable[str] = (),
        train_ok: bool = False,
    ) -> list[AtomWritten]:
        """Write atoms of one parent, with their lineage and event: all or nothing, idempotent.

        The parent (an asset or an atom) must exist in this scope (``NotFoundError``) and have the
        same kind, space and subject (``ContextMismatchError``). An atom's id is derived from
        parent, operation, version, parameters and position; one that exists is left as it is.
        At most 2000 a call.
        """
        check_id(parent, "the parent id")
        own = Governance.build(
            self._gate.context,
            self._gate.deployment.config.kinds,
            kind=kind,
            space=space,
            pii_flags=pii_flags,
            train_ok=train_ok,
        )
        made_by = check_operation(operation, version, {} if parameters is None else parameters)
        if not 1 <= len(atoms) <= MAX_ATOMS:
            raise InvalidArgumentError(f"a batch holds 1 to {MAX_ATOMS} atoms")
        ids = [self.derive(parent, made_by, check_new(atom).position) for atom in atoms]
        if len(set(ids)) != len(ids):
            raise InvalidArgumentError("two atoms of the batch have one position")
        with self._gate.mutation(
            Action.ATOM_PUT, StoreRole.ATOMS, ids, kind=own.kind, space=own.space
        ) as mutation:
            asset, governance = self._parent(parent)
            own.require_parent(governance)
            missing = [record is None for record in self._ledger.get("atoms", ids)]
            fresh = [
                (atom_key, atom)
                for atom_key, atom, absent in zip(ids, atoms, missing, strict=True)
                if absent
            ]
            if fresh:
                operations = self.insertions(
                    fresh,
                    asset=asset,
                    parent=parent,
                    made_by=made_by,
                    governance=own.tightened(governance),
                    action=Action.ATOM_PUT,
                )
                collection = "assets" if asset == parent else "atoms"
                self._ledger.commit([Require(collection, parent), *operations])
            else:
                mutation.unchanged = True
        return [
            AtomWritten(id=key, created=absent) for key, absent in zip(ids, missing, strict=True)
        ]

    def get(self, ids: str | Sequence[str]) -> list[Atom | None]:
        """Return atoms aligned with ``ids``; ``None`` where this scope has none."""
        wanted = [check_id(i, "the atom id") for i in ([ids] if isinstance(ids, str) else ids)]
        self._gate.admit(Action.ATOM_GET, wanted)
        records = self._ledger.get("atoms", wanted)
        self._gate.accessed(Action.ATOM_GET, StoreRole.ATOMS, wanted)
        return [None if record is None else atom_of(record) for record in records]

    def text(self, atom: Atom) -> str:
        """Return an atom's text, from the record or from the object that holds it.

        Raises ``NotFoundError`` when the object is gone, ``IntegrityError`` when it changed.
        """
        if atom.text is not None:
            return atom.text
        self._gate.admit(Action.ATOM_GET, (atom.id,))
        with self._raw.opened(text_key(atom.id)) as stream:
            data = b"".join(stream.chunks)
        if hashlib.sha256(data).hexdigest() != atom.sha256:
            raise IntegrityError("the atom's text is not what was written")
        self._gate.accessed(Action.ATOM_GET, StoreRole.RAW, (atom.id,))
        return data.decode("utf-8")

    def query(
        self, where: Filter | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> AtomPage:
        """Return atoms that match, in id order, a page at a time.

        ``where`` is over the declared fields of atoms; ``docs/filters.md`` lists them.
        """
        check_limit(limit)
        self._gate.admit(Action.ATOM_QUERY)
        records, following = query_page(self._ledger, "atoms", where, cursor=cursor, limit=limit)
        self._gate.accessed(Action.ATOM_QUERY, StoreRole.ATOMS, [r.id for r in records])
        return AtomPage(items=tuple(atom_of(record) for record in records), cursor=following)

    def children(
        self,
        parent: str,
        *,
        where: Filter | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> AtomPage:
        """Return the atoms made directly from ``parent``, in id order, a page at a time."""
        mine = Eq("parent", check_id(parent, "the parent id"))
        both = mine if where is None else And((mine, where))
        return self.query(both, cursor=cursor, limit=limit)

    def count(self, where: Filter | None = None) -> int:
        """Count atoms that match, exactly."""
        self._gate.admit(Action.ATOM_COUNT)
        number = self._ledger.count("atoms", where)
        self._gate.accessed(Action.ATOM_COUNT, StoreRole.ATOMS, ())
        return number

    def update(self, atom: str, *, metadata: Mapping[str, Any], expected_version: int) -> Atom:
        """Replace an atom's free metadata by compare-and-set; nothing else of an atom can change.

        Raises ``NotFoundError``, and ``PreconditionFailedError`` when the version has moved on.
        """
        check_id(atom, "the atom id")
        check_json(metadata, "the metadata")
        with self._gate.mutation(Action.ATOM_UPDATE, StoreRole.ATOMS, (atom,)):
            record = self._ledger.get("atoms", [atom])[0]
            if record is None:
                raise NotFoundError("no such atom")
            if record.version != expected_version:
                raise PreconditionFailedError("the atom has another version by now")
            body = {**body_of(record), "metadata": dict(metadata)}
            replaced = self._ledger.record(
                "atoms", atom, record.fields, body, version=record.version + 1
            )
            old = atom_of(record)
            self._ledger.commit(
                [
                    Replace(replaced),
                    self._ledger.event(
                        Action.ATOM_UPDATE,
                        old.governance,
                        source_ids=[atom],
                        result_ids=[atom],
                    ),
                ]
            )
            return atom_of(replaced)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete atoms and the edges that lead to them: all or nothing; returns how many existed.

        Raises ``RetentionError`` if any of them is protected, and ``PreconditionFailedError`` for
        one that still has children; nothing is deleted then. Vectors are deleted by id beside it.
        """
        wanted = [check_id(i, "the atom id") for i in ids]
        if not 1 <= len(wanted) <= MAX_ATOMS:
            raise InvalidArgumentError(f"a batch holds 1 to {MAX_ATOMS} atoms")
        with self._gate.mutation(Action.ATOM_DELETE, StoreRole.ATOMS, wanted) as mutation:
            now = self._gate.now()
            operations: list[Operation] = []
            going = set(wanted)
            existed: list[Atom] = []
            for record in self._ledger.get("atoms", wanted):
                if record is None:
                    continue
                atom = atom_of(record)
                atom.governance.ensure_deletable(now)
                existed.append(atom)
                operations.append(Remove("atoms", atom.id, record.version))
                operations.append(Remove("edges", self._edge(atom.parent, atom.id)))
            for step in self._ledger.walk(sorted(going), "down", max_depth=1, limit=MAX_ATOMS + 1):
                if step.edge.fields["child"] not in going:
                    raise PreconditionFailedError(
                        "an atom still has children", hint="delete those first"
                    )
            if not existed:
                mutation.unchanged = True
                return 0
            operations.append(
                self._ledger.event(
                    Action.ATOM_DELETE,
                    existed[0].governance,
                    source_ids=[atom.id for atom in existed],
                    result_ids=[],
                )
            )
            self._ledger.commit(operations)
            for atom in existed:
                if atom.text is None:
                    self._raw.discard(text_key(atom.id))
            return len(existed)

    # -- for the flows beside this handle ------------------------------------------------------

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
                self._spill(key, data, governance)
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
            self._ledger.record("edges", self._edge(parent, child), fields, body),
            if_exists="keep",
        )

    def _edge(self, parent: str, child: str) -> str:
        return edge_id(self._gate.scope, parent=parent, child=child, relation="derived")

    def _spill(self, key: str, data: bytes, governance: Governance) -> None:
        attributes = ObjectAttributes(content_type=TEXT, metadata={}, system={})
        try:
            self._raw.store(text_key(key), Body(data), attributes, governance)
        except AlreadyExistsError:
            # The id is derived from all that decides the text, so what is there is this text.
            return

    def _parent(self, parent: str) -> tuple[str, Governance]:
        record = self._ledger.get("assets", [parent])[0]
        if record is not None:
            return parent, Governance.from_data(body_of(record)["governance"])
        record = self._ledger.get("atoms", [parent])[0]
        if record is None:
            raise NotFoundError("no such parent", hint="register the asset or write the atom first")
        atom = atom_of(record)
        return atom.asset, atom.governance


@attrs.frozen
class MadeBy:
    """An operation with its version and parameters; ``canonical`` is the parameters' one form."""

    operation: str
    version: str
    parameters: Mapping[str, Any]
    canonical: str


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
        if not all(type(key) is str for key in data):
            raise ValueError
        return canonical_json(data).decode("utf-8")
    except (TypeError, ValueError, RecursionError):
        raise InvalidArgumentError(f"{what} cannot be written as JSON") from None


def check_new(atom: object) -> NewAtom:
    """Return the atom if it is well-formed."""
    if type(atom) is not NewAtom:
        raise InvalidArgumentError("the batch holds something that is not a NewAtom")
    if type(atom.position) is not int or not 0 <= atom.position < 2**31:
        raise InvalidArgumentError("an atom's position is not a non-negative integer")
    if type(atom.text) is not str:
        raise InvalidArgumentError("an atom's text is not a str")
    try:
        atom.text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidArgumentError("an atom's text holds a lone surrogate") from None
    check_json(atom.locator, "the locator")
    check_json(atom.metadata, "the metadata")
    return atom


def text_key(atom: str) -> str:
    """Object key of an atom's text where that is not inline."""
    return f"{RESERVED_ROOT}/atoms/{atom}"


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
