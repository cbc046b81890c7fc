"""``n.atoms``: derived pieces of assets, with their parents and the operation that made them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, final

import attrs

from nexus_core._handles.checks import check_limit, check_many
from nexus_core._handles.derivation import (
    Atom,
    Derivation,
    NewAtom,
    atom_of,
    check_json,
    check_new,
    check_operation,
    text_key,
)
from nexus_core._handles.fence import Fences
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of, by_owner
from nexus_core._handles.objects import Objects
from nexus_core._handles.protection import Protecting, Protection
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import (
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionFailedError,
)
from nexus_core._model.filters import And, Eq, Filter
from nexus_core._model.ids import check_id
from nexus_core._model.records import Replace, Require
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole

MAX_ATOMS: Final = 2000
_EXPORTED: Final = 200


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

    __slots__ = ("_derivation", "_fences", "_gate", "_ledger", "_objects")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._fences = Fences(gate)
        self._objects = Objects(gate)
        self._derivation = Derivation(gate, self._objects)

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
        ids = [self._derivation.derive(parent, made_by, check_new(atom).position) for atom in atoms]
        if len(set(ids)) != len(ids):
            raise InvalidArgumentError("two atoms of the batch have one position")
        with self._gate.mutation(
            Action.ATOM_PUT, StoreRole.ATOMS, ids, kind=own.kind, space=own.space
        ) as mutation:
            asset, governance = self._derivation.parent(parent)
            own.require_parent(governance)
            missing = [record is None for record in self._ledger.get("atoms", ids)]
            fresh = [
                (atom_key, atom)
                for atom_key, atom, absent in zip(ids, atoms, missing, strict=True)
                if absent
            ]
            if fresh:
                operations = self._derivation.insertions(
                    fresh,
                    asset=asset,
                    parent=parent,
                    made_by=made_by,
                    governance=own.tightened(governance),
                    action=Action.ATOM_PUT,
                )
                collection = "assets" if asset == parent else "atoms"
                there = [Require(collection, parent), self._fences.open_to(parent)]
                self._ledger.commit([*there, *operations])
            else:
                mutation.unchanged = True
        return [
            AtomWritten(id=key, created=absent) for key, absent in zip(ids, missing, strict=True)
        ]

    def get(self, ids: str | Sequence[str]) -> list[Atom | None]:
        """Return atoms aligned with ``ids``, at most 10 000; ``None`` where this scope has none."""
        check_many([ids] if isinstance(ids, str) else ids, "ids")
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
        text = self._read_text(atom)
        self._gate.accessed(Action.ATOM_GET, StoreRole.RAW, (atom.id,))
        return text

    def _read_text(self, atom: Atom) -> str:
        with self._objects.opened(text_key(atom.id, atom.sha256)) as (stream, _):
            data = b"".join(stream.chunks)
        if hashlib.sha256(data).hexdigest() != atom.sha256:
            raise IntegrityError("the atom's text is not what was written")
        return data.decode("utf-8")

    def query(
        self, where: Filter | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> AtomPage:
        """Return atoms that match, in id order, a page at a time.

        ``where`` is over the declared fields of atoms; ``docs/filters.md`` lists them.
        """
        check_limit(limit)
        self._gate.admit(Action.ATOM_QUERY)
        records, following = self._ledger.sealed_page("atoms", where, cursor=cursor, limit=limit)
        items = tuple(atom_of(record) for record in records)
        ids = [item.id for item in items]
        self._ledger.asked(Action.ATOM_QUERY, [item.governance for item in items], ids)
        self._gate.accessed(Action.ATOM_QUERY, StoreRole.ATOMS, ids)
        return AtomPage(items=items, cursor=following)

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

    def export(self, where: Filter | None = None, *, training: bool = False) -> Iterator[bytes]:
        """Yield atoms that match, with their texts, as lines of canonical JSON in id order.

        Each page is on record and told of before it is given out. With ``training`` only atoms that
        may be trained on, and whose asset may, come along. An atom that is deleted meanwhile may be
        left out; one whose text is gone or was altered ends the export with its error.
        """
        if type(training) is not bool:
            raise InvalidArgumentError("training is True or False")
        if training:
            allowed = Eq("train_ok", value=True)
            where = allowed if where is None else And((where, allowed))
        self._gate.admit(Action.ATOM_EXPORT)
        return self._exported(where)

    def _exported(self, where: Filter | None) -> Iterator[bytes]:
        after: str | None = None
        while True:
            self._gate.ensure_alive()
            records, after = self._ledger.page("atoms", where, after=after, limit=_EXPORTED)
            atoms = [atom_of(record) for record in records]
            ids = [atom.id for atom in atoms]
            if ids:
                own = [atom.governance for atom in atoms]
                self._ledger.asked(Action.ATOM_EXPORT, own, ids)
                self._gate.accessed(Action.ATOM_EXPORT, StoreRole.ATOMS, ids)
            for atom in atoms:
                self._gate.ensure_alive()
                text = self._read_text(atom) if atom.text is None else atom.text
                data = attrs.asdict(attrs.evolve(atom, text=text))
                yield canonical_json(data) + b"\n"
            if after is None:
                return

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

    def set_legal_hold(
        self,
        atom: str,
        *,
        hold: bool,
        expected_version: int | None = None,
    ) -> Atom:
        """Place a legal hold on an atom, or lift it: atomic, durable, idempotent. Owners and
        admins only; why is the request's purpose.

        Covers what was made from it: no such atom is deleted while it holds. Raises
        ``NotFoundError``, and ``PreconditionFailedError`` when the version has moved on.
        """
        return self._protected(atom, Protection.of_hold(hold), expected_version)

    def set_retention(self, atom: str, until: int, *, expected_version: int | None = None) -> Atom:
        """Retain an atom until then (µs since the epoch), as ``set_legal_hold`` does: a period can
        be extended, and nothing shortens it (``RetentionError``)."""
        change = Protection.of_period(until, self._gate.now())
        return self._protected(atom, change, expected_version)

    def _protected(self, atom: str, change: Protection, expected_version: int | None) -> Atom:
        check_id(atom, "the atom id")
        with self._gate.mutation(change.action, StoreRole.ATOMS, (atom,)) as mutation:
            protecting = Protecting(self._gate)
            record = protecting.record(mutation, "atoms", atom, change, expected_version)
        return atom_of(record)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete atoms and the edges that lead to them: all or nothing; returns how many existed.

        Raises ``RetentionError`` if any of them, or what it was made from, is protected, and
        ``PreconditionFailedError`` for one that still has children; nothing is deleted then.
        Vectors are deleted by id beside it.
        """
        wanted = [check_id(i, "the atom id") for i in ids]
        if not 1 <= len(wanted) <= MAX_ATOMS:
            raise InvalidArgumentError(f"a batch holds 1 to {MAX_ATOMS} atoms")
        with self._gate.mutation(Action.ATOM_DELETE, StoreRole.ATOMS, wanted) as mutation:
            now = self._gate.now()
            going = set(wanted)
            # From here on nobody can put a child below any of them; those that are there show.
            self._fences.bar(mutation, sorted(going))
            records = [r for r in self._ledger.get("atoms", sorted(going)) if r is not None]
            existed = [atom_of(record) for record in records]
            for atom in existed:
                atom.governance.ensure_deletable(now)
            for step in self._ledger.walk(sorted(going), "down", max_depth=1, limit=MAX_ATOMS + 1):
                if step.edge.fields["child"] not in going:
                    raise PreconditionFailedError(
                        "an atom still has children", hint="delete those first"
                    )
            gone = sorted(going.difference(atom.id for atom in existed))
            if not existed:
                self._derivation.discard_texts([], gone)
                mutation.unchanged = True
                return 0
            events = [
                self._ledger.event(Action.ATOM_DELETE, own, source_ids=ids, result_ids=[])
                for own, ids in by_owner((atom.id, atom.governance) for atom in existed)
            ]
            above = self._derivation.ancestors(records)
            for record in above:
                Governance.from_data(body_of(record)["governance"]).ensure_deletable(now)
            # None of those is protected in between.
            there = [Require(r.collection, r.id, version=r.version) for r in above]
            removals = [step for record in records for step in self._derivation.removals(record)]
            self._ledger.commit([*there, *removals, *events, *mutation.closing])
            mutation.release = None
            mutation.begun = True
            self._derivation.discard_texts(records, gone)
            return len(existed)
