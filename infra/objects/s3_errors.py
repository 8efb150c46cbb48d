"""What the S3 library's errors mean.

Its messages name keys and addresses with queries: none of them is passed on.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final, cast

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
)

from infra.objects.port import ObjectsUnavailable
from infra.objects.s3_place import S3Place
from infra.refused import StoreRefused

FAILURES: Final = (BotoCoreError, ClientError, aiohttp.ClientError, OSError)
"""All that the library raises for what went wrong outside the program."""

NOT_FOUND: Final = frozenset({"NoSuchKey", "NotFound", "404"})
"""Codes that say that the bucket has no such object."""

_PASSING: Final = frozenset(
    {
        "RequestTimeout",
        "IncompleteBody",
        "BadDigest",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
    }
)
"""Codes of 400 answers that say how one request fared on its way."""

_REMEDIES: Final[Mapping[str, str]] = {
    "NoSuchBucket": "there is none: `faceid setup` makes it, or see FACEID_S3_BUCKET",
    "InvalidBucketName": "no bucket may be called so: see FACEID_S3_BUCKET",
    "InvalidAccessKeyId": "the access key is unknown there: see FACEID_S3_ACCESS_KEY",
    "SignatureDoesNotMatch": "the secret key is wrong: see FACEID_S3_SECRET_KEY",
    "AuthorizationHeaderMalformed": "another region is expected: see FACEID_S3_REGION",
    "PermanentRedirect": "it is in another region: see FACEID_S3_REGION",
    "InvalidLocationConstraint": "none can be made in that region: see FACEID_S3_REGION",
    "IllegalLocationConstraintException": "none can be made in that region: see FACEID_S3_REGION",
    "RequestTimeTooSkewed": "the clocks of this machine and the server differ too much",
    "BucketAlreadyExists": "it is somebody else's: see FACEID_S3_BUCKET",
}


def code_of(error: ClientError) -> str:
    """S3's own word for what was wrong."""
    return str(_part(error, "Error").get("Code", "unknown"))


def is_not_found(error: ClientError) -> bool:
    """Whether the bucket answered and has no such object."""
    return code_of(error) in NOT_FOUND


def is_silence(error: BaseException) -> bool:
    """Whether nobody answered in time."""
    return isinstance(error, TimeoutError | ConnectTimeoutError | ReadTimeoutError)


def unavailable(error: Exception, place: S3Place) -> ObjectsUnavailable:
    """The error as it counts while the service runs: later it will do.

    Even what the server refuses: permissions and buckets come and go, keys and sizes are our own and right.
    """
    match error:
        case ClientError():
            reason = f"the server refused: {code_of(error)}"
        case EndpointConnectionError() | SSLError():
            reason = "no connection"
        case _:
            reason = f"no answer ({type(error).__name__})"
    return ObjectsUnavailable(f"{place}: {reason}")


def refusal(error: Exception, place: S3Place) -> StoreRefused | None:
    """The error at start, if no waiting can mend it."""
    match error:
        case ClientError():
            return _refusal(code_of(error), _status(error), place)
        case NoCredentialsError() | PartialCredentialsError() | ProfileNotFound():
            remedy = "no credentials: set FACEID_S3_ACCESS_KEY and FACEID_S3_SECRET_KEY, or give it a role"
        case SSLError():
            remedy = _tls_remedy(error)
        case _:
            return None
    return StoreRefused(f"objects: {place}: {remedy}") if remedy else None


def _refusal(code: str, status: int, place: S3Place) -> StoreRefused | None:
    if code in _REMEDIES:
        return StoreRefused(f"objects: {place}: {_REMEDIES[code]}")
    if code in _PASSING or status not in {*range(300, 500), 501} or status in {408, 429}:
        return None
    remedy = "see what FACEID_S3_ACCESS_KEY may do there" if status == 403 else "see FACEID_S3_ENDPOINT"
    if "KMS" in code or "Encryption" in code:
        remedy = "see FACEID_S3_ENCRYPTION"
    return StoreRefused(f"objects: {place}: the server refused ({status} {code}): {remedy}")


def _tls_remedy(error: SSLError) -> str | None:
    """None where it may have been the connection."""
    inner = cast("dict[str, object]", getattr(error, "kwargs", {})).get("error")
    match inner:
        case aiohttp.ClientConnectorCertificateError(
            certificate_error=ssl.SSLCertVerificationError(verify_message=why)
        ):
            return f"its certificate is not trusted ({why}): see FACEID_S3_CA_FILE"
        case aiohttp.ClientConnectorSSLError(os_error=ssl.SSLError(reason="WRONG_VERSION_NUMBER")):
            return "it does not speak TLS: see FACEID_S3_ENDPOINT"
        case _:
            return None


def _status(error: ClientError) -> int:
    return int(_part(error, "ResponseMetadata").get("HTTPStatusCode", 0))


def _part(error: ClientError, name: str) -> Mapping[str, Any]:
    return cast("Mapping[str, Mapping[str, Any]]", error.response).get(name, {})
