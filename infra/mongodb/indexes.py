"""A collection's indexes as MongoDB keeps them, and bringing them in line with the declaration.

A declared index (state, created_at) is `i_state__created_at` over (_company, state, created_at, id). Of a
unique one, records with None in a field are left out, and an index that leaves records out can't be read by a
question that asks for them too: so there is one to keep it unique and one to read, but for an index whose
fields are never None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError, OperationFailure

from infra.documents.fields import BYTES, IDENTIFIER, TEXT, Kind
from infra.documents.layout import DeclaredIndex, Layout
from infra.documents.port import DocumentsError
from infra.mongodb.connection import Database, MongoConnection, all_of
from infra.mongodb.errors import COLLECTION_EXISTS, INDEX_CONFLICTS, INDEX_NOT_FOUND, MongoDenied
from infra.telemetry import get_logger

PRIMARY_NAME: Final = "_id_"
EXPIRY_NAME: Final = "expiry"

_READ: Final = "i_"
_OURS: Final = (_READ, "u_", EXPIRY_NAME)

_RETIRED: Final = "_retired_indexes"
RETIRED_FOR = timedelta(days=1)
"""How long processes of two versions may run side by side."""

# Rather too late by the server's clock than too early by ours: `delete_expired` is exact.
_EXPIRED_FOR_S: Final = 300

# Making an index over millions of records takes its time, and nobody waits for the store yet.
_BUILD_S: Final = 3600.0

_log = get_logger(__name__)


@dataclass(frozen=True)
class MongoIndex:
    """An index of the server's. `options` are those that tell it from another over the same keys."""

    name: str
    keys: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def model(self) -> IndexModel:
        return IndexModel([(key, 1) for key in self.keys], name=self.name, **self.options)


def is_whole(layout: Layout[Any], index: DeclaredIndex) -> bool:
    """Whether the unique index has every record, and so can be read, too."""
    fields = [layout.field(name) for name in index.fields]
    return index.unique and not any(field.many or field.optional for field in fields)


def read_name(layout: Layout[Any], index: DeclaredIndex) -> str:
    """The name of the index that is read for a declared one, the primary one included."""
    if not index.fields:
        return PRIMARY_NAME
    return index.name if is_whole(layout, index) else f"{_READ}{'__'.join(index.fields)}"


def wanted(layout: Layout[Any]) -> dict[str, MongoIndex]:
    """All indexes that a collection is to have, by name."""
    indexes: list[MongoIndex] = []
    for index in layout.indexes:
        if index.unique:
            options: dict[str, Any] = {"unique": True}
            if not is_whole(layout, index):
                of_type = {name: {"$type": _type(layout.field(name).kind)} for name in index.fields}
                options["partialFilterExpression"] = of_type
            indexes.append(MongoIndex(index.name, ("_company", *index.fields), options))
        if not is_whole(layout, index):
            indexes.append(MongoIndex(read_name(layout, index), ("_company", *index.fields, "id")))
    if layout.expires is not None:
        indexes.append(MongoIndex(EXPIRY_NAME, ("_expires",), {"expireAfterSeconds": _EXPIRED_FOR_S}))
    return {index.name: index for index in indexes}


async def align(connection: MongoConnection, layout: Layout[Any]) -> None:
    """Drop what is not declared any more or says something else, and make what is missing: the collection
    itself, too, where no index makes it.

    An index that is only read goes a day late: until then a process of an older version may still name it.

    Raises DocumentsError when a new unique index meets records that collide in it, and StoreRefused when an
    index that is not ours stands in the way.
    """
    declared = wanted(layout)
    found = await connection.run(lambda database: all_of(database[layout.name].list_indexes()))
    present = {str(one["name"]): _described(one) for one in found if str(one["name"]).startswith(_OURS)}
    stale = {name for name, index in present.items() if declared.get(name) != index}
    waiting = await _retired(connection, layout.name, {name for name in stale if _may_wait(name, declared)})
    for name in stale - waiting:
        try:
            await _drop(connection, layout.name, name)
        except MongoDenied:
            if not _may_wait(name, declared):
                raise
            # It costs room and nothing else: whoever runs `faceid setup` may drop it.
            _log.warning("index_kept", collection=layout.name, index=name)
    missing = [index.model for name, index in declared.items() if present.get(name) != index]
    if not missing:
        if not found:
            await _make(connection, layout.name)
        return

    async def create(database: Database) -> None:
        try:
            await database[layout.name].create_indexes(missing)
        except DuplicateKeyError as error:
            fields = ", ".join(colliding_fields(error))
            raise DocumentsError(f"{layout.name}: stored records are not unique by {fields}") from None
        except OperationFailure as error:
            if error.code in INDEX_CONFLICTS:
                raise connection.refused(f"{layout.name} has an index of others over the same keys") from None
            raise

    await connection.run(create, timeout_s=_BUILD_S)


async def _make(connection: MongoConnection, collection: str) -> None:
    async def make(database: Database) -> None:
        try:
            await database.command("create", collection)
        except OperationFailure as error:
            if error.code != COLLECTION_EXISTS:  # Another process that starts was faster.
                raise

    await connection.run(make)


def colliding_fields(error: DuplicateKeyError) -> tuple[str, ...]:
    """The fields of the unique index that refused, by the key pattern that the server names."""
    pattern: Sequence[str] = tuple((error.details or {}).get("keyPattern", ()))
    return tuple("id" if key == "_id" else key for key in pattern if key != "_company")


def _may_wait(name: str, declared: Mapping[str, MongoIndex]) -> bool:
    """Whether an index is in nobody's way: it refuses no record, and none of its name is to be made."""
    return name.startswith(_READ) and name not in declared


async def _retired(connection: MongoConnection, collection: str, names: set[str]) -> set[str]:
    """Note that these are not declared; answers those of which that was noted less than a day ago."""

    async def note(database: Database) -> set[str]:
        notes, now = database[_RETIRED], datetime.now(UTC)
        known = {one["name"]: one["at"] for one in await all_of(notes.find({"collection": collection}))}
        for name in known.keys() - names:
            await notes.delete_one({"_id": f"{collection}.{name}"})
        for name in names - known.keys():
            document = {"collection": collection, "name": name, "at": now}
            await notes.replace_one({"_id": f"{collection}.{name}"}, document, upsert=True)
        return {name for name in names if now - known.get(name, now).replace(tzinfo=UTC) < RETIRED_FOR}

    return await connection.run(note)


async def _drop(connection: MongoConnection, collection: str, name: str) -> None:
    async def drop(database: Database) -> None:
        try:
            await database[collection].drop_index(name)
        except OperationFailure as error:
            if error.code != INDEX_NOT_FOUND:  # Another process that starts was faster.
                raise

    await connection.run(drop)


def _described(found: Mapping[str, Any]) -> MongoIndex:
    names = ("unique", "partialFilterExpression", "expireAfterSeconds")
    return MongoIndex(
        str(found["name"]), tuple(found["key"]), {name: found[name] for name in names if found.get(name)}
    )


def _type(kind: Kind) -> str:
    """What values of a kind are to MongoDB, None not among them."""
    if kind is TEXT:
        return "string"
    return "binData" if kind in {BYTES, IDENTIFIER} else "number"
