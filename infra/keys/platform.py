"""The keys of what belongs to no company: finding an account by its e-mail address, and tokens."""

from infra.clock import Entropy, system_entropy
from infra.keys.master import MasterKey
from infra.keys.scoped import ScopedKey
from schemas.ids import PLATFORM


class PlatformKey(ScopedKey):
    """Derived from the master key, so there is nothing more to keep or to lose."""

    def __init__(self, master: MasterKey, entropy: Entropy = system_entropy) -> None:
        super().__init__(PLATFORM, master.derive("records"), entropy)
        self.access_token_key = master.derive("access tokens")
        """Signs access tokens (`infra.crypto.tokens`)."""
        self.refresh_token_key = master.derive("refresh tokens")
        """Hashes refresh tokens (`infra.crypto.opaque`)."""
        self.api_key_key = master.derive("API keys")
        """Hashes API keys (`infra.crypto.opaque`)."""
        self.set_password_key = master.derive("set-password tokens")
        """Hashes set-password tokens (`infra.crypto.opaque`)."""

    def email_lookup(self, email: str) -> str:
        """The hash under which the account of an e-mail address is found, in whatever case it is written.

        RFC 5321 lets a host tell `Ann@` from `ann@`; none that people use does, and two accounts would
        confuse them.
        """
        return self.lookup_folded("email", email)
