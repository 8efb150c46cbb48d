"""What can be wrong with certificates, said so that an operator can mend it."""

from pathlib import Path
from typing import ClassVar


class TlsFault(Exception):
    """Base of this package's errors; `code` is stable."""

    code: ClassVar[str]


class HostInvalid(TlsFault):
    code = "public_host_invalid"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"FACEID_PUBLIC_HOSTS has {host!r}, which is neither an IP address nor a DNS name. Give each "
            "name without scheme, port or wildcard, and an international one in its xn-- form."
        )


class AuthorityMissing(TlsFault):
    code = "authority_missing"

    def __init__(self, path: Path) -> None:
        super().__init__(f"There is no certificate authority at {path}. `faceid setup` makes one.")


class AuthorityDamaged(TlsFault):
    code = "authority_damaged"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} isn't a certificate authority of ours. Remove it and run `faceid setup`.")


class AuthorityUnfit(TlsFault):
    code = "authority_unfit"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The certificate authority {reason}. Run `faceid setup`: it makes a new one, and each client "
            "must then be given the new ca.pem."
        )


class CertificateUnusable(TlsFault):
    code = "certificate_unusable"

    def __init__(self, certificate_file: Path, key_file: Path, reason: str) -> None:
        super().__init__(f"{certificate_file} with key {key_file} can't be used: {reason}.")
