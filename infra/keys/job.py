"""A job's own key: what seals its messages, and vanishes when the job has ended."""

from infra.clock import Entropy, system_entropy
from infra.crypto.cipher import KEY_BYTES, Octets, open_, seal


def new_job_key(entropy: Entropy = system_entropy) -> bytes:
    """A key for one job. It is kept only in the job's record, wrapped by `CompanyKey.wrap_job_key`."""
    return entropy(KEY_BYTES)


class JobCipher:
    """Seals the bodies of a job's messages, or its blob.

    `header` is what the body is bound to: the exact bytes of the message's header, or the blob's key. It
    can be read without a key, but not changed.
    """

    def __init__(self, key: bytes, header: bytes, entropy: Entropy = system_entropy) -> None:
        self._key = key
        self._header = header
        self._entropy = entropy

    def seal(self, body: Octets) -> bytes:
        return seal(self._key, body, self._header, self._entropy)

    def open(self, sealed: Octets) -> bytes:
        """Raises Unsealable if the body, the header or the key isn't the one it was sealed with."""
        return open_(self._key, sealed, self._header)
