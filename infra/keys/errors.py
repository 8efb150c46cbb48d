"""What can be wrong with keys. Messages name files, companies and fingerprints, and never key material."""

from pathlib import Path
from typing import ClassVar
from uuid import UUID


class KeyFault(Exception):
    """Base of this package's errors; `code` is stable. All mean: stop, nothing may be read or written."""

    code: ClassVar[str]


class MasterKeyMissing(KeyFault):
    code = "master_key_missing"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"There is no master key at {path}. On a first start, `faceid setup` makes one. If there was "
            "one, put it back from its backup: without it nothing that is stored can be read, and a new one "
            "is no help."
        )


class MasterKeyExists(KeyFault):
    code = "master_key_exists"

    def __init__(self, path: Path) -> None:
        super().__init__(f"There is a master key at {path} already; it is never overwritten.")


class MasterKeyMalformed(KeyFault):
    code = "master_key_malformed"

    def __init__(self, path: Path, length_bytes: int) -> None:
        super().__init__(
            f"{path} holds {length_bytes} bytes, and a master key is exactly 32. Put the right file back "
            "from its backup."
        )


class UnsafePermissions(KeyFault):
    code = "unsafe_permissions"

    def __init__(self, path: Path, mode: int) -> None:
        super().__init__(
            f"{path} can be read or changed by other accounts of this machine (mode {mode:04o}). Run "
            f"`chmod 600 {path}`, and consider whether somebody has read it already."
        )


class MasterKeyMismatch(KeyFault):
    code = "master_key_mismatch"

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(
            f"The key store belongs to master key {expected}, and this one is {found}. Point "
            "FACEID_MASTER_KEY_FILE at the right key, or FACEID_KEY_STORE at the right store."
        )


class KeyStoreMissing(KeyFault):
    code = "key_store_missing"

    def __init__(self, where: str) -> None:
        super().__init__(
            f"There is no key store at {where}. On a first start, `faceid setup` makes one. If there was "
            "one, put it back: starting without it would take every company for deleted."
        )


class KeyStoreUnsupported(KeyFault):
    code = "key_store_unsupported"

    def __init__(self, reason: str) -> None:
        # The URL itself isn't repeated: a server's may hold a password.
        super().__init__(
            f"FACEID_KEY_STORE {reason}; use file:/absolute/path/of/a/folder or mongodb://HOST/DATABASE."
        )


class KeyStoreUnavailable(KeyFault):
    """The store does not answer: try again later. It says nothing about any key."""

    code = "key_store_unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The key store does not answer: {reason}.")


class KeyStoreCorrupt(KeyFault):
    code = "key_store_corrupt"

    def __init__(self, subject: str) -> None:
        super().__init__(
            f"The key store's entry for {subject} is damaged. Restore the key store from its backup."
        )


class CompanyKeyExists(KeyFault):
    code = "company_key_exists"

    def __init__(self, company_id: UUID) -> None:
        super().__init__(f"Company {company_id} has a key already.")


class CompanyKeyGone(KeyFault):
    """The company was deleted, and with its key whatever was sealed for it."""

    code = "company_key_gone"

    def __init__(self, company_id: UUID) -> None:
        super().__init__(f"Company {company_id} has no key.")
