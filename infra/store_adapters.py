"""The adapter that the settings choose for each store on a server, not started.

Their libraries take long to load, and are loaded only where they are used.
"""

from typing import TYPE_CHECKING

from infra.clock import Clock
from infra.common_clock import CommonClock
from infra.mongodb.address import MongoAddress
from infra.objects.filesystem import FilesystemObjects
from infra.objects.port import Objects
from infra.objects.s3_place import S3Place
from infra.settings import Settings
from infra.store_breaker import StoreBreaker

if TYPE_CHECKING:
    from infra.broker.kafka.broker import KafkaBroker
    from infra.documents.mongodb import MongoDocuments
    from infra.objects.s3 import S3Objects

# A message's header, what it says besides the photos in it, and what a dead letter says of a message.
_AROUND_PHOTOS_BYTES = 256 * 1024


def kafka_broker(
    settings: Settings, clock: CommonClock | None = None, breaker: StoreBreaker | None = None
) -> "KafkaBroker":
    """The cluster of the settings, not started."""
    # Its library is loaded only where it is used.
    from infra.broker.kafka.address import KafkaAddress  # noqa: PLC0415
    from infra.broker.kafka.broker import KafkaBroker, KafkaOptions  # noqa: PLC0415

    password = settings.kafka_password
    address = KafkaAddress(
        servers=settings.kafka_servers,
        tls=settings.kafka_tls,
        ca_file=settings.kafka_ca_file,
        cert_file=settings.kafka_cert_file,
        key_file=settings.kafka_key_file,
        user=settings.kafka_user,
        password=password.get_secret_value() if password else None,
    )
    return KafkaBroker(
        KafkaOptions(
            address,
            prefix=settings.kafka_topic_prefix,
            replicas=settings.kafka_replicas,
            max_message_bytes=settings.max_inline_bytes + _AROUND_PHOTOS_BYTES,
            instance=settings.kafka_instance,
        ),
        clock,
        breaker,
    )


def make_objects(settings: Settings, clock: Clock, breaker: StoreBreaker | None = None) -> Objects:
    """The objects adapter that the settings choose, not started."""
    match settings.objects:
        case "filesystem":
            return FilesystemObjects(settings.data_dir / "objects")
        case "s3":
            return s3_objects(settings, clock, breaker)


def s3_objects(settings: Settings, clock: Clock, breaker: StoreBreaker | None = None) -> "S3Objects":
    """The bucket of the settings, not started."""
    # Its library takes half a second to import.
    from infra.objects.s3 import S3Objects  # noqa: PLC0415

    place = S3Place(
        bucket=settings.s3_bucket or "",
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        ca_file=settings.s3_ca_file,
        path_style=settings.s3_path_style,
        encryption=settings.s3_encryption,
    )
    return S3Objects(place, clock, breaker=breaker)


def mongo_documents(settings: Settings, breaker: StoreBreaker | None = None) -> "MongoDocuments":
    """The MongoDB of the settings, not started."""
    # Its driver takes a while to load.
    from infra.documents.mongodb import MongoDocuments  # noqa: PLC0415
    from infra.mongodb.connection import MongoConnection  # noqa: PLC0415

    url = settings.mongodb_url
    return MongoDocuments(
        MongoConnection(
            MongoAddress(
                url="" if url is None else url.get_secret_value(),
                database=settings.mongodb_database,
                role="documents",
                setting="FACEID_MONGODB_URL",
                ca_file=settings.mongodb_ca_file,
                cert_file=settings.mongodb_cert_file,
            ),
            breaker,
        )
    )
