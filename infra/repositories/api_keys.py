"""API keys: what machines sign their requests with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from infra.clock import Clock
from infra.crypto.opaque import NewToken
from infra.documents.port import AlreadyExists, Documents, Page, Scalar
from infra.keys.company import CompanyKeys
from infra.repositories.changing import changed_record
from infra.repositories.collections import API_KEYS
from schemas.access import Scope
from schemas.records import ApiKey


class ApiKeyExpired(Exception):
    """The key's time is over: a new secret would be of no use."""


@dataclass(frozen=True)
class ApiKeyGrant:
    """What a key is called, what it may do, for which groups and until when."""

    name: str
    scopes: frozenset[Scope]
    groups: tuple[str, ...] | None
    expires_at: datetime | None


@dataclass(frozen=True)
class ApiKeys:
    """Reads and writes API keys. A key that is removed, or past its time, does not count from that moment."""

    documents: Documents
    keys: CompanyKeys
    clock: Clock

    async def get(self, company_id: UUID, key_id: str) -> ApiKey | None:
        return await self.documents.get(API_KEYS, company_id, key_id)

    async def list(
        self, company_id: UUID, *, after: tuple[Scalar, ...] | None = None, limit: int
    ) -> Page[ApiKey]:
        """Newest first."""
        order = ("created_at",)
        return await self.documents.find(
            API_KEYS, company_id, order_by=order, descending=True, after=after, limit=limit
        )

    async def name(self, company_id: UUID, key: ApiKey) -> str:
        return (await self.keys.get(company_id)).open_text("api_key.name", key.id, key.name_sealed)

    async def add(
        self, company_id: UUID, key_id: UUID, grant: ApiKeyGrant, secret: NewToken, *, created_by: str
    ) -> ApiKey:
        """Keep a new key: its digest only.

        A secret that an earlier run of the same request made, and nobody has been shown, gives way.
        """
        company_key = await self.keys.get(company_id)
        key = ApiKey(
            id=str(key_id),
            name_sealed=company_key.seal_text("api_key.name", key_id, grant.name),
            scopes=tuple(sorted(grant.scopes)),
            groups=grant.groups,
            digest=secret.digest,
            last_four=secret.text[-4:],
            created_at=self.clock.now(),
            created_by=created_by,
            expires_at=grant.expires_at,
        )
        try:
            await self.documents.insert(API_KEYS, company_id, key)
        except AlreadyExists:
            return await self._changed(company_id, key.id, lambda known: _shown(known, secret)) or key
        return key

    async def rotate(
        self, company_id: UUID, key_id: str, rotation_id: UUID, secret: NewToken, *, overlap_s: int
    ) -> ApiKey | None:
        """Give the key a new secret. The one before works for `overlap_s` more, the one before that no
        longer. What an earlier run of the same rotation made, and nobody has been shown, gives way.

        None if there is no such key. Raises ApiKeyExpired.
        """

        def rotated(key: ApiKey) -> ApiKey:
            now = self.clock.now()
            if key.expires_at is not None and key.expires_at <= now:
                raise ApiKeyExpired
            new = _shown(key, secret)
            if key.rotation_id == str(rotation_id):
                return new
            return new.model_copy(
                update={
                    "rotation_id": str(rotation_id),
                    "previous_digest": key.digest if overlap_s else None,
                    "previous_until": now + timedelta(seconds=overlap_s) if overlap_s else None,
                    "rotated_at": now,
                }
            )

        return await self._changed(company_id, key_id, rotated)

    async def remove(self, company_id: UUID, key_id: str) -> bool:
        """Revoke a key for good; False if there was none."""
        return await self.documents.delete(API_KEYS, company_id, key_id)

    async def _changed(
        self, company_id: UUID, key_id: str, change: Callable[[ApiKey], ApiKey]
    ) -> ApiKey | None:
        written = await changed_record(self.documents, API_KEYS, company_id, key_id, change)
        return written[1] if written is not None else None


def _shown(key: ApiKey, secret: NewToken) -> ApiKey:
    return key.model_copy(update={"digest": secret.digest, "last_four": secret.text[-4:]})
