"""Where a MongoDB is, told without loading its driver."""

from dataclasses import dataclass, field
from pathlib import Path


def hosts_of(url: str) -> str:
    """The servers that a URL names, by comma, without credentials and options."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]


@dataclass(frozen=True)
class MongoAddress:
    """Where a MongoDB is, and as whom it is used. `role` and `setting` are what messages name."""

    url: str = field(repr=False)
    database: str
    role: str
    setting: str
    ca_file: Path | None = None
    cert_file: Path | None = None
    """Certificate and key of ours in one PEM file."""

    @property
    def hosts(self) -> str:
        """The servers, without credentials and options. Only of a URL that the driver has taken."""
        return hosts_of(self.url)
