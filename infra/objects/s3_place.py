"""Where a bucket is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

Encryption = Literal["none", "AES256", "aws:kms"]


@dataclass(frozen=True)
class S3Place:
    """Which bucket, where, and who asks."""

    bucket: str
    endpoint: str | None = None
    """None is Amazon's own."""
    region: str = "us-east-1"
    access_key: str | None = None
    """None: what the library finds by itself (environment, profile, the role of the machine)."""
    secret_key: SecretStr | None = None
    ca_file: Path | None = None
    path_style: bool = True
    encryption: Encryption = "none"

    def __str__(self) -> str:
        return f"bucket {self.bucket} at {self.endpoint or f'Amazon S3 in {self.region}'}"
