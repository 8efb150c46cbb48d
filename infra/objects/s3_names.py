"""How keys of the objects role are written in a bucket.

    <first folder of the key>/<company>/<other folders>/=<name>

The first folder stands first (`inflight/…`, `photos/…`) so that a sweep over all companies lists what is in
flight and not every photo that is kept, and so that a bucket's own rules (copies elsewhere, say), which go by
constant prefixes, can tell one from the other. A key without a folder has `=` there. No part of a key begins
with `=`, so that `x` and `x/y` don't get into each other's way on servers that keep objects as files.
"""

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final
from uuid import UUID

from infra.objects.keys import key_parts, prefix_parts
from infra.objects.port import ObjectInfo

_MARK: Final = "="


def name_of(company_id: UUID, key: str) -> str:
    """An object's name in the bucket."""
    *folders, name = key_parts(key)
    first, *others = folders or [_MARK]
    return "/".join((first, str(company_id), *others, _MARK + name))


def read_name(name: str) -> tuple[UUID, str] | None:
    """The company and the key that a name was made of; None for what is not ours."""
    match name.split("/"):
        case [first, company, *folders, last] if last.startswith(_MARK):
            pass
        case _:
            return None
    try:
        company_id = UUID(company)
    except ValueError:
        return None
    if first != _MARK:
        folders.insert(0, first)
    return company_id, "/".join((*folders, last.removeprefix(_MARK)))


def prefix_of(company_id: UUID | None, prefix: str) -> str | None:
    """What the names of all objects under a prefix begin with, and few others; None where that differs from
    first folder to first folder (`company_folder`)."""
    parts = prefix_parts(prefix)
    if company_id is None:
        return "".join(f"{part}/" for part in parts[:1])
    if not parts:
        return None
    return company_folder(f"{parts[0]}/", company_id) + "".join(f"{part}/" for part in parts[1:])


def company_folder(first_folder: str, company_id: UUID) -> str:
    """Where a company's objects of one first folder (ending in `/`) are."""
    return f"{first_folder}{company_id}/"


def info_of(entry: Mapping[str, Any]) -> ObjectInfo | None:
    """An object as a listing of the bucket has it; None for what is not ours."""
    read = read_name(entry["Key"])
    if read is None:
        return None
    company_id, key = read
    return ObjectInfo(company_id, key, int(entry["Size"]), entry["LastModified"].astimezone(UTC))
