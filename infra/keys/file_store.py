"""The key store as a folder: one small file a company, 0600 in 0700."""

import asyncio
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

from infra.durable_files import make_private_folders
from infra.keys.errors import (
    CompanyKeyExists,
    CompanyKeyGone,
    KeyStoreCorrupt,
    KeyStoreMissing,
    MasterKeyMismatch,
)
from infra.keys.private_files import read_private, shred, write_new
from infra.keys.store import KeyStore, StoreMark, WrappedKey

_SUFFIX = ".key"


class FileKeyStore(KeyStore):
    """Keeps the keys under `folder`. Files are read and written in a thread.

    A cancelled call may still take effect; each operation is atomic, so it took effect as a whole or not at
    all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = folder / "store.json"

    async def initialise(self, master_fingerprint: str) -> None:
        await asyncio.to_thread(self._initialise, master_fingerprint)

    async def check(self, master_fingerprint: str) -> None:
        await asyncio.to_thread(self._check, master_fingerprint)

    async def create(self, company_id: UUID, key: WrappedKey) -> None:
        await asyncio.to_thread(self._create, company_id, key)

    async def get(self, company_id: UUID) -> WrappedKey:
        return await asyncio.to_thread(self._get, company_id)

    async def delete(self, company_id: UUID) -> bool:
        return await asyncio.to_thread(self._delete, company_id)

    async def list(self) -> frozenset[UUID]:
        return await asyncio.to_thread(self._list)

    def _initialise(self, master_fingerprint: str) -> None:
        make_private_folders(self._folder)
        mark = StoreMark(master_fingerprint=master_fingerprint)
        try:
            write_new(self._mark, mark.model_dump_json().encode())
        except FileExistsError:
            self._check(master_fingerprint)

    def _check(self, master_fingerprint: str) -> None:
        try:
            mark = StoreMark.model_validate_json(read_private(self._mark))
        except FileNotFoundError:
            raise KeyStoreMissing(str(self._folder)) from None
        except ValidationError:
            raise KeyStoreCorrupt(self._mark.name) from None
        if mark.master_fingerprint != master_fingerprint:
            raise MasterKeyMismatch(mark.master_fingerprint, master_fingerprint)

    def _create(self, company_id: UUID, key: WrappedKey) -> None:
        self._require_store()
        try:
            write_new(self._path(company_id), key.model_dump_json().encode())
        except FileExistsError:
            raise CompanyKeyExists(company_id) from None

    def _get(self, company_id: UUID) -> WrappedKey:
        try:
            return WrappedKey.model_validate_json(read_private(self._path(company_id)))
        except FileNotFoundError:
            self._require_store()
            raise CompanyKeyGone(company_id) from None
        except ValidationError:
            raise KeyStoreCorrupt(f"company {company_id}") from None

    def _delete(self, company_id: UUID) -> bool:
        self._require_store()
        return shred(self._path(company_id))

    def _list(self) -> frozenset[UUID]:
        self._require_store()
        return frozenset(_company_of(path) for path in self._folder.glob(f"*{_SUFFIX}"))

    def _require_store(self) -> None:
        # A folder that vanished (an unmounted volume, say) must not look like companies that were deleted.
        if not self._mark.exists():
            raise KeyStoreMissing(str(self._folder))

    def _path(self, company_id: UUID) -> Path:
        return self._folder / f"{company_id}{_SUFFIX}"


def _company_of(path: Path) -> UUID:
    try:
        return UUID(path.name.removesuffix(_SUFFIX))
    except ValueError:
        raise KeyStoreCorrupt(f"file {path.name}") from None
