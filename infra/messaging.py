"""Sealing what travels: a message's body opens only with its job's key, which its job record holds until it
ends."""

from typing import TypeVar
from uuid import UUID

from infra.broker.port import OutgoingMessage
from infra.crypto.cipher import Unsealable
from infra.keys.job import JobCipher
from schemas.messages import Body, MessageHeader, MessageUnreadable, decode_message, encode_message

B = TypeVar("B", bound=Body)


def sealed_message(header: MessageHeader, body: Body, job_key: bytes, *, key: UUID) -> OutgoingMessage:
    """A message ready to publish; `key` decides its partition, and its order on a keyed topic."""
    value = encode_message(header, lambda header_bytes: JobCipher(job_key, header_bytes).seal(body.pack()))
    return OutgoingMessage(key=key.bytes, value=value)


def open_body(value: bytes, job_key: bytes, model: type[B]) -> B:
    """The body of a message. Raises MessageUnreadable when it is not this job's, or was changed."""
    _, header_bytes, sealed = decode_message(value)
    try:
        return model.unpack(JobCipher(job_key, header_bytes).open(sealed))
    except Unsealable as error:
        raise MessageUnreadable("the body does not open with the job's key") from error
