"""``n.erasure``: what has to be forgotten, forgotten everywhere."""

from __future__ import annotations

from typing import final

from nexus_core._handles.erasing import Erasing, Erasure
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import check_subject
from nexus_core._model.errors import ContextMismatchError, InvalidArgumentError
from nexus_core._security.permissions import Action


@final
class ErasureHandle:
    """Erasure in one scope. Owners and admins only; on record with counts, never with names."""

    __slots__ = ("_erasing", "_gate")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._erasing = Erasing(gate)

    def subject(self, subject: str) -> Erasure:
        """Erase a subject: its objects, assets, atoms, vectors, events, and the sealed parts of the
        trail that are about it. Blocking, O(objects + rows of the scope), idempotent.

        When it returns no read of this scope finds anything of the subject, and every proof of the
        trail still holds. Crash-safe: what a kill interrupts is finished by calling again, or by
        ``recover``. Raises ``RetentionError``, whose ``ids`` name what is protected, before
        anything is erased. The request itself must be about nobody (``ContextMismatchError``), for
        its own records stay. What exporters were given before is out of reach.
        """
        check_subject(subject)
        self._gate.admit(Action.ERASE_SUBJECT)
        self._refuse_subject()
        return self._erasing.subject(subject)

    def scope(self, *, confirm: str) -> Erasure:
        """Erase all objects, vectors, records and subjects of this scope; ``confirm`` is
        ``TENANT/ENV``, spelt out. Blocking.

        What is left is the trail's permanent part, which says of nobody what was done, and the
        record of this erasure. Crash-safe and refused as ``subject``; events that no relay has
        delivered yet go as well.
        """
        self._gate.admit(Action.ERASE_SCOPE)
        self._refuse_subject()
        scope = self._gate.scope
        if confirm != f"{scope.tenant_id}/{scope.env}":
            raise InvalidArgumentError(
                "the confirmation does not name this scope", hint="confirm='TENANT/ENV'"
            )
        return self._erasing.scope()

    def _refuse_subject(self) -> None:
        if self._gate.context.subject is not None:
            raise ContextMismatchError(["subject"], hint="erase in a request without a subject")
