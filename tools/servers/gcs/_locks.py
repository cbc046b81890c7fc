"""What keeps a generation: a temporary hold, and a period of its own.

As the service's pages say (cloud.google.com/storage/docs/object-holds and .../object-lock): what is
held is neither deleted nor replaced. What has a period is not destroyed before its end, but where
versions are kept it can still be made an old one. A period takes a bucket that was made with object
retention; it is extended freely; to shorten, remove or lock an unlocked one must be asked for by
name, and a locked one is only extended. That what is held is not even made an old version is in the
service's refusal alone ("cannot be deleted, overwritten or archived").
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from tools.servers.gcs._refusal import Refusal

_MODES: Final = ("Unlocked", "Locked")
_LONGEST: Final = 3_155_760_000


@attrs.frozen
class Period:
    """Until when a generation is kept, and who may change that."""

    mode: str
    until: datetime

    def resource(self) -> dict[str, str]:
        text = self.until.isoformat().replace("+00:00", "Z")
        return {"mode": self.mode, "retainUntilTime": text}


@attrs.frozen
class Locks:
    """The locks of one generation; ``held`` is ``None`` where nothing was ever said of it."""

    held: bool | None = None
    period: Period | None = None

    def resource(self) -> dict[str, Any]:
        held = {} if self.held is None else {"temporaryHold": self.held}
        return held | ({} if self.period is None else {"retention": self.period.resource()})

    def changed(
        self, said: Mapping[str, Any], *, enabled: bool, override: bool, now: float
    ) -> Locks:
        """The locks after what a request says of them; refuses what it may not say."""
        if said.get("eventBasedHold"):
            raise Refusal(501, "notImplemented", "not a part of this server")
        held = said.get("temporaryHold", self.held)
        if not isinstance(held, bool | None):
            raise Refusal(400, "invalid", "temporaryHold")
        wish = said.get("retention", {})
        if wish == {}:
            return Locks(held, self.period)
        wanted = _period(wish or {}, now)
        if wanted is not None and not enabled:
            raise Refusal(400, "invalid", "The bucket was made without object retention.")
        if self.period is not None and not _may_follow(self.period, wanted, override=override):
            raise Refusal(403, "forbidden", "The object's retention may not be changed so.")
        return Locks(held, wanted)

    def check_held(self, where: str) -> None:
        """Refuse to delete, replace or archive what is held."""
        if self.held:
            what = f"Object '{where}' is under active Temporary hold and cannot be deleted, "
            raise Refusal(
                403, "objectUnderActiveHold", f"{what}overwritten or archived until it is removed."
            )

    def check_period(self, where: str, policy_until: float, now: float) -> None:
        """Refuse to destroy what has a period to go, its own or its bucket's."""
        own = 0.0 if self.period is None else self.period.until.timestamp()
        until = max(own, policy_until)
        if now < until:
            end = datetime.fromtimestamp(until, UTC).isoformat()
            what = f"Object '{where}' is retained and cannot be deleted or overwritten until {end}"
            raise Refusal(403, "retentionPolicyNotMet", what)


def _period(wish: Mapping[str, Any], now: float) -> Period | None:
    mode, text = wish.get("mode"), wish.get("retainUntilTime")
    if mode is None and text is None:
        return None
    refusal = Refusal(400, "invalid", "retention takes a mode and a time to come")
    try:
        until = datetime.fromisoformat(str(text))
        left = until.timestamp() - now
    except ValueError:
        raise refusal from None
    if mode not in _MODES or until.tzinfo is None or not 0 < left <= _LONGEST:
        raise refusal
    return Period(mode, until.astimezone(UTC))


def _may_follow(before: Period, wanted: Period | None, *, override: bool) -> bool:
    longer = wanted is not None and wanted.until >= before.until
    if before.mode == "Locked":
        return longer and wanted is not None and wanted.mode == "Locked"
    return override or (longer and wanted is not None and wanted.mode == "Unlocked")
