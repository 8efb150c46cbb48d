"""The audit trail: what was done in a company's affairs, and by whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue

from infra.clock import Clock
from infra.documents.port import Documents
from infra.repositories.collections import AUDIT_EVENTS
from schemas.events import AuditEvent
from schemas.ids import Entropy, new_id


@dataclass(frozen=True)
class Audit:
    """Writes what a request did at once; what a job did comes by the relay."""

    documents: Documents
    clock: Clock
    entropy: Entropy

    async def record(
        self,
        company_id: UUID,
        event_type: str,
        *,
        actor: str,
        correlation_id: str,
        data: Mapping[str, JsonValue],
    ) -> None:
        """Record that `actor` has done something. `data` holds ids, codes and figures, nothing personal."""
        now = self.clock.now()
        event = AuditEvent(
            id=str(new_id(now, self.entropy)),
            type=event_type,
            occurred_at=now,
            job_id=None,
            actor=actor,
            correlation_id=correlation_id,
            data=dict(data),
        )
        await self.documents.insert(AUDIT_EVENTS, company_id, event)
