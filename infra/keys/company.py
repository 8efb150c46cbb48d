"""Companies' keys: made, unwrapped, cached for a minute at most, and destroyed."""

import asyncio
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakValueDictionary

from infra.clock import Clock, Entropy, system_entropy
from infra.crypto.cipher import KEY_BYTES, Octets, Unsealable
from infra.crypto.derive import lookup_hash
from infra.keys.errors import CompanyKeyExists, CompanyKeyGone, KeyStoreCorrupt, MasterKeyMismatch
from infra.keys.master import MasterKey
from infra.keys.scoped import ScopedKey
from infra.keys.store import KeyStore, WrappedKey

__all__ = ["MAX_CACHE_S", "CompanyKey", "CompanyKeyExists", "CompanyKeyGone", "CompanyKeys"]

MAX_CACHE_S = 60.0
"""How long a destroyed key may still be in use by another process."""


class CompanyKey(ScopedKey):
    """Seals what is kept for one company. `scope_id` is the company's id.

    Sealing takes microseconds, and about 4 ms for a photo of 10 MiB: seal large ones in a thread.
    """

    def seal_template(self, face_id: str | UUID, template: Octets) -> bytes:
        """Seal a template: the bytes of its float32 values, little-endian."""
        return self.seal_bytes("face.template", face_id, template)

    def open_template(self, face_id: str | UUID, sealed: Octets) -> bytes:
        return self.open_bytes("face.template", face_id, sealed)

    def seal_photo(self, object_key: str, photo: Octets) -> bytes:
        """Seal a photo that is kept, bound to the key of the object that it is kept as."""
        return self.seal_bytes("face.photo", object_key, photo)

    def open_photo(self, object_key: str, sealed: Octets) -> bytes:
        return self.open_bytes("face.photo", object_key, sealed)

    def photo_hash(self, photo: bytes) -> str:
        """The hash (32 hexadecimal digits) that tells whether two files are the same photo, within the
        company."""
        return lookup_hash(self._purpose_key("photo hash"), photo).hex()

    def wrap_job_key(self, job_id: str | UUID, job_key: bytes) -> bytes:
        return self.seal_bytes("job.key", job_id, job_key)

    def unwrap_job_key(self, job_id: str | UUID, wrapped: bytes) -> bytes:
        """Raises Unsealable if it was wrapped for another job or company."""
        return self.open_bytes("job.key", job_id, wrapped)


@dataclass(frozen=True, eq=False)
class _Cached:
    key: CompanyKey
    expires_s: float
    expiry: asyncio.TimerHandle


class CompanyKeys:
    """Hands out companies' keys, each read from the store by one caller at a time.

    An unwrapped key is dropped `cache_s` after it was read, used or not, so that a company deleted
    elsewhere is unreadable here within a minute. At most `capacity` keys are held; the one unused for
    longest goes first.
    """

    def __init__(
        self,
        master: MasterKey,
        store: KeyStore,
        clock: Clock,
        *,
        entropy: Entropy = system_entropy,
        cache_s: float = MAX_CACHE_S,
        capacity: int = 1024,
    ) -> None:
        if not 0 < cache_s <= MAX_CACHE_S:
            raise ValueError(f"keys are cached for at most {MAX_CACHE_S} s, not {cache_s}")
        self._master = master
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._cache_s = cache_s
        self._capacity = capacity
        self._cache: OrderedDict[UUID, _Cached] = OrderedDict()
        self._reading: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._forgotten = 0

    async def initialise(self) -> None:
        """Set-up: make the store for this master key. Raises MasterKeyMismatch if it is another's."""
        await self._store.initialise(self._master.fingerprint)

    async def check(self) -> None:
        """Start: raises KeyStoreMissing or MasterKeyMismatch if store and master key don't belong
        together."""
        await self._store.check(self._master.fingerprint)

    async def close(self) -> None:
        """Let go of the store; keys that are cached stay good for their minute."""
        await self._store.close()

    async def get(self, company_id: UUID) -> CompanyKey:
        """The company's key. Raises CompanyKeyGone, KeyStoreUnavailable, or another KeyFault for what an
        operator has to mend."""
        cached = self._cached(company_id)
        if cached is not None:
            return cached
        async with self._reading.setdefault(company_id, asyncio.Lock()):
            cached = self._cached(company_id)
            if cached is not None:
                return cached
            forgotten, read_at_s = self._forgotten, self._clock.monotonic_s()
            stored = await self._store.get(company_id)
            key = CompanyKey(company_id, self._opened(company_id, stored), self._entropy)
            # What was forgotten while it was read may be gone: use it this once, as if it had come sooner.
            if forgotten == self._forgotten:
                self._keep(company_id, key, read_at_s)
            return key

    async def create(self, company_id: UUID) -> CompanyKey:
        """Make a new company's key, stored when this returns. Raises CompanyKeyExists."""
        key = self._entropy(KEY_BYTES)
        wrapped = WrappedKey(
            master_fingerprint=self._master.fingerprint,
            wrapped=self._master.wrap(company_id, key, self._entropy),
            created_at=self._clock.now(),
        )
        await self._store.create(company_id, wrapped)
        return CompanyKey(company_id, key, self._entropy)

    async def adopt(self, company_id: UUID, other: "CompanyKeys") -> None:
        """Keep here, too, the key that another store has of a company, wrapped by the same master key.

        When this returns, what is kept has been read again and opens to the same key. Raises CompanyKeyGone,
        MasterKeyMismatch or KeyStoreCorrupt, and CompanyKeyExists for a company that has another key here.
        """
        theirs = await other._store.get(company_id)
        key = self._opened(company_id, theirs)
        with suppress(CompanyKeyExists):
            await self._store.create(company_id, theirs)
        if self._opened(company_id, await self._store.get(company_id)) != key:
            raise CompanyKeyExists(company_id)
        self.forget(company_id)

    async def destroy(self, company_id: UUID) -> bool:
        """Destroy the company's key, and with it all that was sealed; False if it was gone already."""
        try:
            return await self._store.delete(company_id)
        finally:
            self.forget(company_id)

    def forget(self, company_id: UUID) -> None:
        """Drop the company's key from the cache, so that the next `get` asks the store."""
        self._forgotten += 1
        self._drop(company_id)

    def _cached(self, company_id: UUID) -> CompanyKey | None:
        entry = self._cache.get(company_id)
        if entry is None or entry.expires_s <= self._clock.monotonic_s():
            return None
        self._cache.move_to_end(company_id)
        return entry.key

    def _keep(self, company_id: UUID, key: CompanyKey, read_at_s: float) -> None:
        self._drop(company_id)
        # The timer frees the memory of a key that nobody asks for again; the clock decides about use.
        expiry = asyncio.get_running_loop().call_later(self._cache_s, self._drop, company_id)
        self._cache[company_id] = _Cached(key, read_at_s + self._cache_s, expiry)
        if len(self._cache) > self._capacity:
            self._drop(next(iter(self._cache)))

    def _drop(self, company_id: UUID) -> None:
        entry = self._cache.pop(company_id, None)
        if entry is not None:
            entry.expiry.cancel()

    def _opened(self, company_id: UUID, stored: WrappedKey) -> bytes:
        if stored.master_fingerprint != self._master.fingerprint:
            raise MasterKeyMismatch(stored.master_fingerprint, self._master.fingerprint)
        try:
            return self._master.unwrap(company_id, stored.wrapped)
        except Unsealable:
            raise KeyStoreCorrupt(f"company {company_id}") from None
