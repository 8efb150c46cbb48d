"""The S3 library's client: how it is made, and the little of it that is used, with types.

It ships none; what comes out of it stays behind these.
"""

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, cast

import aioboto3
from aiobotocore.config import AioConfig

from infra.objects.s3_place import S3Place
from infra.refused import StoreRefused

Answer = Mapping[str, Any]

_CONNECT_TIMEOUT_S: Final = 3
_READ_TIMEOUT_S: Final = 10
_ATTEMPTS: Final = 3
_CONNECTIONS: Final = 32


class S3Client(Protocol):
    """What is asked of the library's client."""

    async def put_object(self, **arguments: Any) -> Answer: ...
    async def get_object(self, **arguments: Any) -> Answer: ...
    async def head_object(self, **arguments: Any) -> Answer: ...
    async def delete_object(self, **arguments: Any) -> Answer: ...
    async def delete_objects(self, **arguments: Any) -> Answer: ...
    async def list_objects_v2(self, **arguments: Any) -> Answer: ...
    async def create_multipart_upload(self, **arguments: Any) -> Answer: ...
    async def upload_part(self, **arguments: Any) -> Answer: ...
    async def complete_multipart_upload(self, **arguments: Any) -> Answer: ...
    async def abort_multipart_upload(self, **arguments: Any) -> Answer: ...
    async def list_multipart_uploads(self, **arguments: Any) -> Answer: ...
    async def create_bucket(self, **arguments: Any) -> Answer: ...
    async def get_bucket_versioning(self, **arguments: Any) -> Answer: ...


@asynccontextmanager
async def connected(place: S3Place) -> AsyncGenerator[S3Client]:
    """A client that may be used by many tasks at once. It asks nothing of the server yet."""
    secret = place.secret_key.get_secret_value() if place.secret_key else None
    session = aioboto3.Session(aws_access_key_id=place.access_key, aws_secret_access_key=secret)
    tls = not (place.endpoint or "").startswith("http://")
    config = AioConfig(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        # A checksum goes along with every blob (`infra.objects.s3`), as a header. Left to itself the library
        # sends it behind the body, which many servers refuse.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_supported",
        s3={
            "addressing_style": "path" if place.path_style else "virtual",
            # With TLS and a checksum, hashing a photo once more for the signature would gain nothing.
            "payload_signing_enabled": not tls,
        },
    )
    client = cast(
        "AbstractAsyncContextManager[S3Client]",
        session.client(  # pyright: ignore[reportUnknownMemberType] - the library has no types
            "s3",
            region_name=place.region,
            endpoint_url=place.endpoint,
            verify=_ca_file(place),
            config=config,
        ),
    )
    async with client as opened:
        yield opened


def _ca_file(place: S3Place) -> str | None:
    """Read once before: the library takes a file that is none for a server that does not answer."""
    if place.ca_file is None:
        return None
    try:
        ssl.create_default_context(cafile=place.ca_file)
    except OSError:  # an SSLError is one, too
        raise StoreRefused(
            f"objects: FACEID_S3_CA_FILE, {place.ca_file}: not a file of certificates"
        ) from None
    return str(place.ca_file)
