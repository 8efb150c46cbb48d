"""What the documents of a collection are known to hold: what was declared since is filled in.

A question and a compare-and-set look at what is stored, not at a model's defaults. So where a model has
gained a field, documents that were written before get its default, before anything is asked; and where a
collection has begun to expire, the date of it.
"""

from typing import Any, Final

from infra.documents.layout import Layout
from infra.mongodb.connection import Database, MongoConnection
from infra.mongodb.shape import Document, Shape

_KNOWN: Final = "_declarations"

# As long as it takes to walk through all documents once.
_FILL_S: Final = 3600.0


async def fill_in(connection: MongoConnection, layout: Layout[Any], shape: Shape[Any]) -> None:
    """Bring documents in line with the declaration. Several processes may do it at once."""
    expires = layout.collection.expires_field
    fields = sorted(field.name for field in shape.scalars)
    declared: Document = {"_id": layout.name, "fields": fields, "expires": expires}
    found = await connection.run(lambda database: database[_KNOWN].find_one({"_id": layout.name}))
    if found == declared:
        return
    known = found or {"fields": [], "expires": None}

    async def fill(database: Database) -> None:
        collection = database[layout.name]
        for name, value in shape.defaults().items():
            if name not in known["fields"]:
                await collection.update_many({name: {"$exists": False}}, {"$set": {name: value}})
        if expires not in {None, known["expires"]}:
            milliseconds = {"$ceil": {"$divide": [f"${expires}", 1000]}}
            await collection.update_many({}, [{"$set": {"_expires": {"$toDate": milliseconds}}}])
        await database[_KNOWN].replace_one({"_id": layout.name}, declared, upsert=True)

    await connection.run(fill, timeout_s=_FILL_S)
