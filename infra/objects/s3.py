"""The objects role on S3, or on a server that speaks it: an object a blob, in one bucket."""

import asyncio
import base64
import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from botocore.exceptions import ClientError

from infra.clock import Clock
from infra.objects.port import ObjectInfo, ObjectNotFound, Objects, ObjectsUnavailable
from infra.objects.s3_client import Answer, S3Client, connected
from infra.objects.s3_errors import (
    FAILURES,
    NOT_FOUND,
    code_of,
    is_not_found,
    is_silence,
    refusal,
    unavailable,
)
from infra.objects.s3_names import company_folder, info_of, name_of, prefix_of, read_name
from infra.objects.s3_place import S3Place
from infra.refused import StoreRefused
from infra.store_breaker import StoreBreaker, StoreLeftAlone
from infra.telemetry import get_logger
from schemas.ids import PLATFORM

# A photo goes as a whole, several may go in parts: a time-out then costs one part.
_PUT_IN_PARTS_BYTES: Final = 16 * 2**20
_PART_BYTES: Final = 8 * 2**20

# The checksum of what is read is computed on the way, on the event loop: a little at a time.
_READ_BYTES: Final = 2**20

# S3 takes no more.
_DELETED_AT_A_TIME: Final = 1000

_ABORT_TIMEOUT_S: Final = 5.0
_LEFT_OVER_AFTER: Final = timedelta(days=1)

_PROBE: Final = "ping"
_PROBE_BYTES: Final = 4096

_log = get_logger(__name__)


class S3Objects(Objects):
    """Blobs in a bucket. `timeout_s` bounds every call (of a listing, every page of it), repetitions
    included."""

    def __init__(
        self,
        place: S3Place,
        clock: Clock,
        *,
        breaker: StoreBreaker | None = None,
        timeout_s: float = 30.0,
        listed_at_a_time: int = 1000,
    ) -> None:
        self.place = place
        self._clock = clock
        self._breaker = breaker or StoreBreaker("objects")
        self._timeout_s = timeout_s
        self._listed_at_a_time = listed_at_a_time
        self._open = AsyncExitStack()
        self._client: S3Client | None = None
        self._encryption: dict[str, Any] = (
            {} if place.encryption == "none" else {"ServerSideEncryption": place.encryption}
        )

    async def make_bucket(self) -> bool:
        """Make the bucket if it is not there; answers whether it was made. Raises as `start` does.

        Not at start: a bucket whose name is mistyped, or that was lost, must not come up empty.
        """
        where = {} if self.place.region == "us-east-1" else {"LocationConstraint": self.place.region}
        arguments = {"CreateBucketConfiguration": where} if where else {}
        async with self._asking(starting=True) as client:
            try:
                await client.list_objects_v2(Bucket=self.place.bucket, MaxKeys=1)
            except ClientError as error:
                if code_of(error) != "NoSuchBucket":
                    raise
            else:
                return False
            try:
                await client.create_bucket(Bucket=self.place.bucket, **arguments)
            except ClientError as error:
                if code_of(error) == "BucketAlreadyOwnedByYou":
                    return False  # made meanwhile by another
                raise
        return True

    async def start(self) -> None:
        """Try everything once: list, write, read, delete. Raises StoreRefused for what no waiting mends."""
        async with self._asking(starting=True) as client:
            await client.list_objects_v2(Bucket=self.place.bucket, MaxKeys=1)
            await self._write_probe(client)
            with suppress(ObjectNotFound):  # another process has deleted it: reading is allowed
                await self._read(client, name_of(PLATFORM, _PROBE))
            await self._delete_probe(client)
            await self._refuse_versions(client)
            await self._abort_leftovers(client)

    async def close(self) -> None:
        self._client = None
        await self._open.aclose()

    async def put(self, company_id: UUID, key: str, blob: bytes) -> None:
        name = name_of(company_id, key)
        async with self._asking() as client:
            if len(blob) <= _PUT_IN_PARTS_BYTES:
                await self._put(client, name, blob)
            else:
                await self._put_in_parts(client, name, blob)

    async def get(self, company_id: UUID, key: str) -> bytes:
        name = name_of(company_id, key)
        async with self._asking() as client:
            return await self._read(client, name)

    async def delete(self, company_id: UUID, key: str) -> bool:
        """S3 does not tell whether there was something to delete, so it is asked before. Of two deletions at
        once both may be told that there was."""
        place = {"Bucket": self.place.bucket, "Key": name_of(company_id, key)}
        async with self._asking() as client:
            there = True
            try:
                await client.head_object(**place)
            except ClientError as error:
                if not is_not_found(error):
                    raise
                there = False
            # In any case: the answer to HEAD does not tell a missing object from a missing bucket.
            try:
                await client.delete_object(**place)
            except ClientError as error:
                if not is_not_found(error):  # versitygw says so where another has just deleted it
                    raise
        return there

    async def delete_many(self, company_id: UUID, keys: Sequence[str]) -> None:
        names = [{"Key": name_of(company_id, key)} for key in keys]
        for start in range(0, len(names), _DELETED_AT_A_TIME):
            some = {"Objects": names[start : start + _DELETED_AT_A_TIME], "Quiet": True}
            async with self._asking() as client:
                answer = await client.delete_objects(Bucket=self.place.bucket, Delete=some)
            for code in (str(fault.get("Code")) for fault in answer.get("Errors", ())):
                if code not in NOT_FOUND:  # versitygw says so where another has just deleted it
                    raise ObjectsUnavailable(f"{self.place}: the server refused: {code}")

    async def list(
        self, company_id: UUID | None, prefix: str, *, older_than: datetime | None = None
    ) -> AsyncGenerator[ObjectInfo, None]:
        for start in await self._beginnings(company_id, prefix):
            async for page in self._pages(start):
                for entry in page.get("Contents", ()):
                    info = info_of(entry)
                    if info is None or not info.key.startswith(prefix):
                        continue
                    if older_than is None or info.modified_at < older_than:
                        yield info

    async def ping(self) -> None:
        async with self._asking() as client:
            await self._write_probe(client)
            await self._delete_probe(client)

    @asynccontextmanager
    async def _asking(self, *, starting: bool = False) -> AsyncGenerator[S3Client]:
        """The client, and the library's errors as the port's. The library repeats what may be repeated."""
        try:
            with self._breaker.call(is_silence):
                async with asyncio.timeout(self._timeout_s):
                    yield await self._connected()
        except StoreLeftAlone as left:
            raise ObjectsUnavailable(str(left)) from None
        except TimeoutError:
            raise ObjectsUnavailable(f"{self.place}: no answer in time") from None
        except FAILURES as error:
            refused = refusal(error, self.place) if starting else None
            # Without its cause, whose text names the key.
            raise refused or unavailable(error, self.place) from None

    async def _connected(self) -> S3Client:
        if self._client is None:
            self._client = await self._open.enter_async_context(connected(self.place))
        return self._client

    async def _put(self, client: S3Client, name: str, blob: bytes) -> None:
        await client.put_object(
            Bucket=self.place.bucket,
            Key=name,
            Body=blob,
            ChecksumCRC32=await _checksum(blob),
            **self._encryption,
        )

    async def _put_in_parts(self, client: S3Client, name: str, blob: bytes) -> None:
        place = {"Bucket": self.place.bucket, "Key": name}
        begun = await client.create_multipart_upload(**place, ChecksumAlgorithm="CRC32", **self._encryption)
        upload = {**place, "UploadId": begun["UploadId"]}
        try:
            parts: list[Mapping[str, object]] = []
            for number, start in enumerate(range(0, len(blob), _PART_BYTES), 1):
                part = blob[start : start + _PART_BYTES]
                checksum = await _checksum(part)
                sent = await client.upload_part(
                    **upload, PartNumber=number, Body=part, ChecksumCRC32=checksum
                )
                parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32": checksum})
            await client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except BaseException:  # a cancellation too: the parts would cost room for ever
            with suppress(TimeoutError, *FAILURES):
                async with asyncio.timeout(_ABORT_TIMEOUT_S):
                    await client.abort_multipart_upload(**upload)
            raise

    async def _read(self, client: S3Client, name: str) -> bytes:
        try:
            answer = await client.get_object(Bucket=self.place.bucket, Key=name)
        except ClientError as error:
            if is_not_found(error):
                raise ObjectNotFound("no object of this key") from None
            raise
        body, pieces = answer["Body"], list[bytes]()
        # Not the context's own value: that is what is read from, without its length and checksum compared.
        async with body:
            while piece := await body.read(_READ_BYTES):
                pieces.append(piece)
        return b"".join(pieces)

    async def _beginnings(self, company_id: UUID | None, prefix: str) -> Sequence[str]:
        """What the names of the objects asked for begin with."""
        start = prefix_of(company_id, prefix)
        if start is not None:
            return (start,)
        assert company_id is not None  # noqa: S101 - all of all companies begins with nothing
        return [
            company_folder(entry["Prefix"], company_id)
            async for page in self._pages("", Delimiter="/")
            for entry in page.get("CommonPrefixes", ())
        ]

    async def _pages(self, prefix: str, **arguments: str) -> AsyncGenerator[Answer]:
        asked = {"Bucket": self.place.bucket, "Prefix": prefix, "MaxKeys": self._listed_at_a_time}
        while True:
            async with self._asking() as client:
                page = await client.list_objects_v2(**asked, **arguments)
            yield page
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    async def _write_probe(self, client: S3Client) -> None:
        await self._put(client, name_of(PLATFORM, _PROBE), bytes(_PROBE_BYTES))

    async def _delete_probe(self, client: S3Client) -> None:
        await client.delete_object(Bucket=self.place.bucket, Key=name_of(PLATFORM, _PROBE))

    async def _refuse_versions(self, client: S3Client) -> None:
        """A bucket that keeps what is deleted would keep the photos of who was erased."""
        try:
            answer = await client.get_bucket_versioning(Bucket=self.place.bucket)
        except ClientError as error:
            # The server does not know of versions, or does not let us ask.
            _log.info("bucket_versions_unknown", reason=code_of(error))
            return
        if answer.get("Status") == "Enabled":
            raise StoreRefused(
                f"objects: {self.place}: it keeps versions, so nothing could be erased: suspend them, or"
                " choose another in FACEID_S3_BUCKET"
            )

    async def _abort_leftovers(self, client: S3Client) -> None:
        """Parts that a crash left behind: no listing shows them, and they cost room."""
        before = self._clock.now() - _LEFT_OVER_AFTER
        with suppress(ClientError):  # not every server can list them
            answer = await client.list_multipart_uploads(Bucket=self.place.bucket)
            for upload in answer.get("Uploads", ()):
                if read_name(upload["Key"]) is not None and upload["Initiated"] < before:
                    await client.abort_multipart_upload(
                        Bucket=self.place.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )


async def _checksum(blob: bytes) -> str:
    """What the server compares with what reached it."""
    crc = await asyncio.to_thread(zlib.crc32, blob)  # 10 ms for 10 MiB
    return base64.b64encode(crc.to_bytes(4, "big")).decode()
