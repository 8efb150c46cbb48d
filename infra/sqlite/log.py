"""The broker's log over a connection, in the transaction that the caller holds.

A message lies under `position` = partition's row number · 2^40 + offset, so that a partition is one stretch
of one table, in order. Offsets come from a counter and are never used twice, cleaned up or not.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from infra.broker.port import Lag, OutgoingMessage, Topic
from infra.documents.fields import from_microseconds
from infra.refused import StoreRefused

_OFFSETS: Final = 1 << 40
"""Offsets of a partition: 34 years of a thousand messages a second."""

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS partitions (partition_id INTEGER PRIMARY KEY, topic TEXT NOT NULL, "
    "number INTEGER NOT NULL, end_offset INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, number))",
    "CREATE TABLE IF NOT EXISTS messages (position INTEGER PRIMARY KEY, appended_at INTEGER NOT NULL, "
    "key BLOB NOT NULL, value BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS group_positions (group_name TEXT NOT NULL, partition_id INTEGER NOT NULL, "
    "next_offset INTEGER NOT NULL, handed_out INTEGER NOT NULL, PRIMARY KEY (group_name, partition_id)) "
    "WITHOUT ROWID",
)


@dataclass(frozen=True)
class GroupPosition:
    """A group's place: all below `next_offset` is done; nothing from `handed_out` on was begun with."""

    next_offset: int
    handed_out: int


@dataclass(frozen=True)
class Span:
    """Offsets of a partition from `start` up to, not including, `end`."""

    partition_id: int
    start: int
    end: int


@dataclass(frozen=True)
class StoredMessage:
    partition_id: int
    offset: int
    appended_at: int
    key: bytes
    value: bytes


def declare(connection: sqlite3.Connection, topics: Sequence[Topic]) -> dict[str, list[tuple[int, int]]]:
    """Make or check the topics. For each its partitions in order: row number and end of the log."""
    for table in _TABLES:
        connection.execute(table)
    declared: dict[str, list[tuple[int, int]]] = {}
    for topic in topics:
        known = _partitions(connection, topic)
        if not known:
            connection.executemany(
                "INSERT INTO partitions (topic, number) VALUES (?, ?)",
                [(topic.name, number) for number in range(topic.partitions)],
            )
            known = _partitions(connection, topic)
        if len(known) != topic.partitions:
            # A key's messages would go to another partition while older ones wait in the first.
            raise StoreRefused(f"topic {topic.name} has {len(known)} partitions, not {topic.partitions}")
        declared[topic.name] = known
    return declared


def append(
    connection: sqlite3.Connection, batches: Mapping[int, Sequence[OutgoingMessage]], appended_at: int
) -> dict[int, int]:
    """Add messages to partitions. Answers where these end now."""
    ends: dict[int, int] = {}
    for partition_id, messages in batches.items():
        ((end,),) = connection.execute(
            "UPDATE partitions SET end_offset = end_offset + ? WHERE partition_id = ? RETURNING end_offset",
            (len(messages), partition_id),
        ).fetchall()
        start = partition_id * _OFFSETS + end - len(messages)
        connection.executemany(
            "INSERT INTO messages VALUES (?, ?, ?, ?)",
            [
                (start + place, appended_at, message.key, message.value)
                for place, message in enumerate(messages)
            ],
        )
        ends[partition_id] = end
    return ends


def read(
    connection: sqlite3.Connection, spans: Sequence[Span], max_messages: int, max_bytes: int
) -> list[StoredMessage]:
    """Messages of the spans, one of each in turn, each span's in order; the first at whatever size."""
    taken: list[StoredMessage] = []
    size = 0
    cursors = [_messages(connection, span, max_messages) for span in spans]
    while cursors and len(taken) < max_messages:
        cursor = cursors.pop(0)
        message = next(cursor, None)
        if message is None:
            continue
        size += len(message.key) + len(message.value)
        if taken and size > max_bytes:
            break
        taken.append(message)
        cursors.append(cursor)
    return taken


def join_group(
    connection: sqlite3.Connection, group: str, partition_ids: Sequence[int]
) -> dict[int, GroupPosition]:
    """The group's positions. A new group begins with the oldest messages, and counts for `clean`."""
    connection.executemany(
        "INSERT OR IGNORE INTO group_positions VALUES (?, ?, 0, 0)",
        [(group, partition_id) for partition_id in partition_ids],
    )
    return {
        partition_id: GroupPosition(*_position(connection, group, partition_id))
        for partition_id in partition_ids
    }


def save_positions(
    connection: sqlite3.Connection, group: str, positions: Mapping[int, GroupPosition]
) -> None:
    """Write positions down. They never go back, in whichever order writes arrive."""
    connection.executemany(
        "UPDATE group_positions SET next_offset = max(next_offset, ?), handed_out = max(handed_out, ?) "
        "WHERE group_name = ? AND partition_id = ?",
        _updates(group, positions),
    )


def leave_group(connection: sqlite3.Connection, group: str, positions: Mapping[int, GroupPosition]) -> None:
    """Write down where a member leaves, which has handed out exactly so much."""
    connection.executemany(
        "UPDATE group_positions SET next_offset = max(next_offset, ?), handed_out = ? "
        "WHERE group_name = ? AND partition_id = ?",
        _updates(group, positions),
    )


def lag(connection: sqlite3.Connection, group: str, partition_ids: Sequence[int]) -> Lag:
    """What lies at or above the group's positions.

    Offsets have no gaps but for what was cleaned from the front.
    """
    messages = consumed = 0
    oldest: list[int] = []
    for partition_id in partition_ids:
        start, end = _position(connection, group, partition_id)[0], _end(connection, partition_id)
        consumed += start
        for offset, appended_at in _heads(connection, Span(partition_id, start, end), 1):
            messages += end - offset
            oldest.append(appended_at)
    return Lag(messages, from_microseconds(min(oldest)) if oldest else None, consumed)


def clean(
    connection: sqlite3.Connection, partition_ids: Sequence[int], expired_before: int, limit: int
) -> int:
    """Drop messages from the front of partitions: those that all groups are done with or that are too old.

    While no group is known, only age counts.
    """
    dropped = 0
    for partition_id in partition_ids:
        dropped += _clean(connection, partition_id, expired_before, limit - dropped)
    return dropped


def _clean(connection: sqlite3.Connection, partition_id: int, expired_before: int, limit: int) -> int:
    (done,) = connection.execute(
        "SELECT MIN(next_offset) FROM group_positions WHERE partition_id = ?", (partition_id,)
    ).fetchone()
    below = done or 0
    front = 0
    dropped = 0
    for offset, appended_at in _heads(
        connection, Span(partition_id, 0, _end(connection, partition_id)), limit
    ):
        if offset >= below and appended_at > expired_before:
            break
        front = offset + 1
        dropped += 1
    connection.execute(
        "DELETE FROM messages WHERE position >= ? AND position < ?",
        (partition_id * _OFFSETS, partition_id * _OFFSETS + front),
    )
    return dropped


def _updates(group: str, positions: Mapping[int, GroupPosition]) -> list[tuple[int, int, str, int]]:
    return [
        (position.next_offset, position.handed_out, group, partition_id)
        for partition_id, position in positions.items()
    ]


def _partitions(connection: sqlite3.Connection, topic: Topic) -> list[tuple[int, int]]:
    return connection.execute(
        "SELECT partition_id, end_offset FROM partitions WHERE topic = ? ORDER BY number", (topic.name,)
    ).fetchall()


def _end(connection: sqlite3.Connection, partition_id: int) -> int:
    return connection.execute(
        "SELECT end_offset FROM partitions WHERE partition_id = ?", (partition_id,)
    ).fetchone()[0]


def _position(connection: sqlite3.Connection, group: str, partition_id: int) -> tuple[int, int]:
    known = connection.execute(
        "SELECT next_offset, handed_out FROM group_positions WHERE group_name = ? AND partition_id = ?",
        (group, partition_id),
    ).fetchone()
    return known or (0, 0)


def _heads(connection: sqlite3.Connection, span: Span, limit: int) -> list[tuple[int, int]]:
    """Offsets and times of the first messages of a span; their values are not read."""
    first = span.partition_id * _OFFSETS
    rows = connection.execute(
        "SELECT position - ?, appended_at FROM messages WHERE position >= ? AND position < ? "
        "ORDER BY position LIMIT ?",
        (first, first + span.start, first + span.end, limit),
    )
    return rows.fetchall()


def _messages(connection: sqlite3.Connection, span: Span, limit: int) -> Iterator[StoredMessage]:
    first = span.partition_id * _OFFSETS
    rows = connection.execute(
        "SELECT position - ?, appended_at, key, value FROM messages WHERE position >= ? AND position < ? "
        "ORDER BY position LIMIT ?",
        (first, first + span.start, first + span.end, limit),
    )
    for offset, appended_at, key, value in rows:
        yield StoredMessage(span.partition_id, offset, appended_at, key, value)
