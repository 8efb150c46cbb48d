"""`python -m scripts.compose_passwords FOLDER`: the passwords that docker-compose.yml's servers and the
program share. Made once: what is there is kept, and what a crash left out is added.

FOLDER has a folder for each server and one, `faceid`, for the program; each is a volume that nobody else
mounts. In their containers the servers are other users than the one who writes here, so the files may be
read by all who see them.
"""

import secrets
import sys
from pathlib import Path
from typing import Final

from infra.keys.private_files import write_over

_BYTES: Final = 32
_READABLE: Final = 0o444
_PLACES: Final = (
    "kafka/password",
    "mongodb/root_password",
    "mongodb/faceid_password",
    "qdrant/api_key",
    "s3/access_key",
    "s3/secret_key",
)


def make_passwords(folder: Path) -> None:
    """Make what is missing, and tell the program (`FACEID_SECRETS_DIR`) what the servers know."""
    made = {place: _password(folder / place) for place in _PLACES}
    told = {
        # Its configuration file is the one way to tell Qdrant without an environment variable.
        "qdrant/config.yaml": f'service:\n  api_key: "{made["qdrant/api_key"]}"\n',
        "faceid/FACEID_KAFKA_PASSWORD": made["kafka/password"],
        "faceid/FACEID_MONGODB_URL": "mongodb://faceid:"
        f"{made['mongodb/faceid_password']}@mongodb:27017/?replicaSet=faceid&authSource=admin",
        "faceid/FACEID_QDRANT_API_KEY": made["qdrant/api_key"],
        "faceid/FACEID_S3_ACCESS_KEY": made["s3/access_key"],
        "faceid/FACEID_S3_SECRET_KEY": made["s3/secret_key"],
    }
    for place, text in told.items():
        _write(folder / place, text)


def _password(path: Path) -> str:
    if not path.exists():
        _write(path, secrets.token_hex(_BYTES))
    return path.read_text(encoding="ascii")


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="ascii") != text:
        write_over(path, text.encode("ascii"), _READABLE)


if __name__ == "__main__":
    make_passwords(Path(sys.argv[1]))
