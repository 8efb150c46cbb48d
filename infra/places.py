"""Where an installation keeps things, to tell whether two share a place."""

import hashlib

from infra.mongodb.address import hosts_of
from infra.settings import Settings


def place_of_documents(settings: Settings) -> str:
    """Where its records are."""
    match settings.documents:
        case "sqlite":
            return f"folder {settings.data_dir.resolve()}"
        case "mongodb":
            url = settings.mongodb_url.get_secret_value() if settings.mongodb_url is not None else ""
            return f"mongodb {_hosts(url)} {settings.mongodb_database}"


def place_of_objects(settings: Settings) -> str:
    """Where its sealed photos are."""
    match settings.objects:
        case "filesystem":
            return f"folder {settings.data_dir.resolve()}"
        case "s3":
            return f"bucket {settings.s3_endpoint} {settings.s3_bucket}"


def origin_of(settings: Settings, master_fingerprint: str) -> str:
    """Tells installations apart: 16 hexadecimal digits that stay as long as records and master key do."""
    named = f"{master_fingerprint}\n{place_of_documents(settings)}"
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def _hosts(url: str) -> str:
    """The servers of an address, in whatever order they were named."""
    return ",".join(sorted(hosts_of(url).split(",")))
