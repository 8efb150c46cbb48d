"""What is stored of messages that were given up."""

from datetime import datetime

from schemas.records import Record


class DeadLetter(Record):
    """What is needed to look at a job that was given up, or to try it again: its key and its photo. The
    message is on the dead-letter topic. The `id` is the job's. Once that was done, or is not wanted any more,
    the letter is empty: without a key.

    `replays` is the job's when it died: a letter of an earlier death says nothing of a later one."""

    topic: str
    replays: int = 0
    cause: str
    attempts: int
    wrapped_key: bytes | None
    blob_key: str | None
    mentions: tuple[str, ...]
    died_at: datetime
    expires_at: datetime


class UnreadMessage(Record):
    """A message that was given up because this program can't read it, and that is no known job's. Kept under
    PLATFORM; the message itself is on the dead-letter topic. The `id` says where it came from:
    `topic/partition/offset`."""

    topic: str
    partition: int
    offset: int
    size_bytes: int
    reason: str
    """What is wrong with its form; nothing that it holds."""
    cause: str
    attempts: int
    died_at: datetime
    expires_at: datetime
