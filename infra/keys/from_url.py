"""From the setting FACEID_KEY_STORE to a key store."""

import re
from pathlib import Path
from typing import Final

from infra.keys.errors import KeyStoreUnsupported
from infra.keys.file_store import FileKeyStore
from infra.keys.store import KeyStore
from infra.mongodb.address import MongoAddress

_MONGODB: Final = {"mongodb", "mongodb+srv"}
_DATABASE: Final = re.compile(r"//[^/]+/([A-Za-z0-9_-]{1,63})(?:\?.*)?")


def open_key_store(url: str) -> KeyStore:
    """The store that the URL names: `file:/folder` or `file:///folder`, the path taken letter by letter, or
    `mongodb://…/database` with what the driver takes besides (`?tls=true&tlsCAFile=…&authSource=…`).

    Touches nothing yet: `KeyStore.initialise` (set-up) or `KeyStore.check` (start) comes next. Raises
    KeyStoreUnsupported.
    """
    scheme, colon, rest = url.partition(":")
    if colon and scheme.lower() in _MONGODB:
        return _in_mongodb(url, rest)
    if not colon or scheme.lower() != "file":
        raise KeyStoreUnsupported(f"has scheme {scheme!r}" if colon else "has no scheme")
    path = Path(rest.removeprefix("//"))
    if not path.is_absolute():
        raise KeyStoreUnsupported("names a relative folder or another host")
    return FileKeyStore(path)


def _in_mongodb(url: str, rest: str) -> KeyStore:
    database = _DATABASE.fullmatch(rest)
    if database is None:
        raise KeyStoreUnsupported("names no database")
    # Keys in files need no driver to be loaded.
    from infra.keys.mongodb_store import MongoKeyStore  # noqa: PLC0415

    return MongoKeyStore(MongoAddress(url, database[1], "key store", "FACEID_KEY_STORE"))
