"""The key store's port: where wrapped company keys live, apart from everything that they open.

It is none of the four stores, and belongs into none of their backups: deleting a company's key here is what
makes the company's data unreadable everywhere, backups included. Back it up by itself, briefly kept.
"""

from abc import ABC, abstractmethod
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class WrappedKey(BaseModel):
    """A company's key, sealed under the master key: what a store keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    version: Literal[1] = 1
    master_fingerprint: str
    wrapped: bytes = Field(repr=False)
    created_at: AwareDatetime


class StoreMark(BaseModel):
    """Says whose store this is; its presence tells an empty store from a wrong path or database."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    master_fingerprint: str


class KeyStore(ABC):
    """Keeps one wrapped key a company. What `create` and `delete` have returned from survives a power loss.

    Any call may raise KeyStoreUnavailable, which says nothing about any key.
    """

    async def close(self) -> None:
        """Let go of what the calls have opened."""
        return

    @abstractmethod
    async def initialise(self, master_fingerprint: str) -> None:
        """Set-up: make the store for this master key; nothing happens if it is there.

        Raises MasterKeyMismatch if it belongs to another master key.
        """

    @abstractmethod
    async def check(self, master_fingerprint: str) -> None:
        """Start: make sure that the store is there and belongs to this master key.

        Raises KeyStoreMissing or MasterKeyMismatch, so that neither a wrong path nor a wrong key is taken for
        companies that were deleted.
        """

    @abstractmethod
    async def create(self, company_id: UUID, key: WrappedKey) -> None:
        """Keep a new company's key. Raises CompanyKeyExists."""

    @abstractmethod
    async def get(self, company_id: UUID) -> WrappedKey:
        """The company's wrapped key. Raises CompanyKeyGone, KeyStoreCorrupt or KeyStoreMissing."""

    @abstractmethod
    async def delete(self, company_id: UUID) -> bool:
        """Destroy the company's key; False if there was none, so that it can be asked for again."""

    @abstractmethod
    async def list(self) -> frozenset[UUID]:
        """The companies that have a key."""
