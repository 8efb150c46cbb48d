"""From the setting FACEID_KEY_STORE to a key store."""

from pathlib import Path

from infra.keys.errors import KeyStoreUnsupported
from infra.keys.file_store import FileKeyStore
from infra.keys.store import KeyStore


def open_key_store(url: str) -> KeyStore:
    """The store that the URL names: `file:/folder` or `file:///folder`, the path taken letter by letter.

    Touches nothing yet: `KeyStore.initialise` (set-up) or `KeyStore.check` (start) comes next. Raises
    KeyStoreUnsupported.
    """
    scheme, colon, rest = url.partition(":")
    if not colon or scheme.lower() != "file":
        raise KeyStoreUnsupported(f"has scheme {scheme!r}" if colon else "has no scheme")
    path = Path(rest.removeprefix("//"))
    if not path.is_absolute():
        raise KeyStoreUnsupported("names a relative folder or another host")
    return FileKeyStore(path)
