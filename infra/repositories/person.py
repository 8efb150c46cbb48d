"""The person behind a user's record: what is sealed of them, and what stands under a keyed hash."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from infra.keys.company import CompanyKey
from schemas.records import Consent, User


@dataclass(frozen=True)
class Person:
    """A user with the seals opened, for answers to those who may read them."""

    user_hash: str
    user_id: str
    full_name: str | None
    reference_id: str | None
    metadata: dict[str, JsonValue]
    tags: tuple[str, ...]
    groups: tuple[str, ...]
    valid_until: datetime | None
    consent: Consent | None


def opened(key: CompanyKey, user: User) -> Person:
    """The person of an active record."""

    def text(purpose: str, sealed: bytes | None) -> str | None:
        return None if sealed is None else key.open_text(purpose, user.id, sealed)

    metadata = text("user.metadata", user.metadata_sealed)
    return Person(
        user_hash=user.id,
        user_id=text("user.id", user.user_id_sealed) or "",
        full_name=text("user.full_name", user.full_name_sealed),
        reference_id=text("user.reference_id", user.reference_id_sealed),
        metadata=json.loads(metadata) if metadata else {},
        tags=user.tags,
        groups=user.groups,
        valid_until=user.valid_until,
        consent=user.consent,
    )


def sealed(key: CompanyKey, user_hash: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The record's fields for what is given of a person, by the names that `Person` has; None clears."""

    def text(purpose: str, value: str | None) -> bytes | None:
        return None if value is None else key.seal_text(purpose, user_hash, value)

    fields: dict[str, Any] = {}
    for name, value in given.items():
        match name:
            case "full_name":
                fields["full_name_sealed"] = text("user.full_name", value)
                fields["full_name_hash"] = full_name_hash(key, value) if value is not None else None
            case "reference_id":
                fields["reference_id_sealed"] = text("user.reference_id", value)
                fields["reference_hash"] = reference_hash(key, value) if value is not None else None
            case "metadata":
                fields["metadata_sealed"] = text("user.metadata", json.dumps(value) if value else None)
            case "tags" | "groups":
                fields[name] = tuple(dict.fromkeys(value or ()))
            case "valid_until" | "consent":
                fields[name] = value
            case _:
                raise ValueError(f"a person has no {name}")
    return fields


def full_name_hash(key: CompanyKey, full_name: str) -> str:
    """Under which a name is found, in whatever letter case it is written."""
    return key.lookup_folded("user.full_name", full_name)


def reference_hash(key: CompanyKey, reference_id: str) -> str:
    """Under which a reference id is found."""
    return key.lookup("user.reference_id", reference_id)
