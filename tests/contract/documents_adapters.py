"""What the contract stores in the documents adapters, and how one is opened."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

from infra.documents.mongodb import MongoDocuments
from infra.documents.port import Collection, Documents, Index
from infra.documents.sqlite import SqliteDocuments
from infra.mongodb.address import MongoAddress
from infra.mongodb.connection import MongoConnection
from infra.sqlite.file import SqliteFile
from schemas.records import Record

Adapter = Callable[[Path], Documents]
"""Gives the store that lies in a folder, not started yet."""

_DATABASES: Final = UUID(int=0)


def in_sqlite(folder: Path) -> Documents:
    return SqliteDocuments(SqliteFile(folder / "documents.sqlite"))


def in_mongodb(url: str, folder: Path) -> Documents:
    """The store for a folder lies in a database named for it."""
    return MongoDocuments(MongoConnection(MongoAddress(url, database_of(folder), "documents", "the URL")))


def database_of(folder: Path) -> str:
    return f"tests-{uuid5(_DATABASES, str(folder)).hex}"


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"
    BLUE = "blue"


class Item(Record):
    """A record with a field of each kind that can be indexed."""

    colour: Colour
    size: int
    made_at: datetime
    weight: float | None = None
    owner: UUID | None = None
    digest: bytes | None = None
    serial: str | None = None
    number: int | None = None
    hidden: bool = False
    tags: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    expires_at: datetime | None = None
    note: str = ""


ITEMS: Final = Collection(
    "items",
    Item,
    (
        Index(("colour", "made_at")),
        Index(("colour", "size")),
        Index(("size",)),
        Index(("weight",)),
        Index(("hidden", "weight", "size")),
        Index(("made_at",)),
        Index(("owner",)),
        Index(("digest",)),
        Index(("tags", "made_at")),
        Index(("colour", "tags")),
        Index(("serial",), unique=True),
        Index(("colour", "number"), unique=True),
        Index(("codes",), unique=True),
    ),
    expires_field="expires_at",
)
NOTES: Final = Collection("notes", Item)


@asynccontextmanager
async def open_documents(
    adapter: Adapter, folder: Path, collections: Sequence[Collection[Any]] = (ITEMS, NOTES)
) -> AsyncGenerator[Documents]:
    """The store that lies in a folder, started with these collections."""
    documents = adapter(folder)
    await documents.start(collections)
    try:
        yield documents
    finally:
        await documents.close()
