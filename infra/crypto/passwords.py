"""Passwords as argon2id hashes, computed in a few threads of their own."""

import asyncio
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHash, VerifyMismatchError

from infra.clock import Entropy, system_entropy

T = TypeVar("T")

_SALT_BYTES = 16
_HASH_BYTES = 32
_ARGON2_VERSION = 19  # RFC 9106


@dataclass(frozen=True)
class PasswordCost:
    """What one hash costs: argon2id's memory, passes and lanes."""

    memory_kib: int
    passes: int
    lanes: int


OWASP_COST = PasswordCost(memory_kib=19 * 1024, passes=2, lanes=1)
"""OWASP Password Storage Cheat Sheet, the least it recommends for argon2id. About 20 ms."""


class PasswordsBusy(Exception):
    """More log-ins are waiting than are worth keeping: answer "later" rather than let them pile up."""

    code: ClassVar[str] = "passwords_busy"

    def __init__(self) -> None:
        super().__init__("Too many passwords are being checked.")


class PasswordHashUnreadable(Exception):
    """A stored hash isn't one of argon2's: the record is damaged."""

    code: ClassVar[str] = "password_hash_unreadable"

    def __init__(self) -> None:
        super().__init__("A stored password hash can't be read.")


class Passwords:
    """Hashes and verifies passwords off the event loop.

    `concurrency` threads bound the memory (19 MiB each at OWASP's cost) and the share of the processor that
    log-ins may take; a cancelled caller's hash is finished, and no new one starts in its place before that.
    Beyond `waiting` callers, PasswordsBusy is raised.
    """

    def __init__(
        self,
        cost: PasswordCost = OWASP_COST,
        *,
        concurrency: int = 2,
        waiting: int = 64,
        entropy: Entropy = system_entropy,
    ) -> None:
        self._hasher = PasswordHasher(
            time_cost=cost.passes,
            memory_cost=cost.memory_kib,
            parallelism=cost.lanes,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
        )
        self._entropy = entropy
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="passwords")
        self._limit = concurrency + waiting
        self._callers = 0
        self._nobody = _hash_of_nobody(cost, entropy)

    async def hash(self, password: str) -> str:
        """The hash to store, its salt and cost included. Raises PasswordsBusy."""
        salt = self._entropy(_SALT_BYTES)
        return await self._in_thread(partial(self._hasher.hash, _octets(password), salt=salt))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed. Raises PasswordsBusy or PasswordHashUnreadable.

        Pass None when there is no such account: it costs the same as a wrong password and is False, so that
        nobody learns from the time taken who has an account.
        """
        stored_or_dummy = self._nobody if stored is None else stored
        try:
            return await self._in_thread(partial(self._hasher.verify, stored_or_dummy, _octets(password)))
        except VerifyMismatchError:
            return False
        except (Argon2Error, InvalidHash):
            raise PasswordHashUnreadable from None

    def needs_rehash(self, stored: str) -> bool:
        """Whether the hash was made at another cost; if so, hash again while the password is at hand."""
        return self._hasher.check_needs_rehash(stored)

    async def close(self) -> None:
        """Let what is running finish, drop what waits, end the threads."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._callers >= self._limit:
            raise PasswordsBusy
        self._callers += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._callers -= 1


def _octets(password: str) -> bytes:
    # Normal form C, as RFC 8265 section 4.2 has it: the same keys on another system are the same password.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _hash_of_nobody(cost: PasswordCost, entropy: Entropy) -> str:
    """A well-formed hash, at this cost, of no password that anybody could find."""
    salt, digest = (b64encode(entropy(length)).rstrip(b"=").decode() for length in (_SALT_BYTES, _HASH_BYTES))
    parameters = f"m={cost.memory_kib},t={cost.passes},p={cost.lanes}"
    return f"$argon2id$v={_ARGON2_VERSION}${parameters}${salt}${digest}"
