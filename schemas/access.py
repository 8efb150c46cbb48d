"""Who may do what: the roles of members, the scopes of API keys, and what each role is worth in scopes."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a member may do; an admin may do all that the others may."""

    ADMIN = "admin"
    STAFF = "staff"
    AUDITOR = "auditor"


class Scope(StrEnum):
    """What a call needs and a credential may have."""

    FACES_READ = "faces:read"
    FACES_WRITE = "faces:write"
    PHOTOS_READ = "faces:photos"
    """To see the photos that are kept, besides what `faces:read` shows."""
    SEARCH = "search"
    INVESTIGATE = "search:investigate"
    """To see what would not open a door: candidates below the company's threshold."""
    LOGS_READ = "logs:read"
    MEMBER = "member"
    """A person who has logged in, whatever their role; no key is one."""
    ADMIN = "admin"
    """The company's affairs: members, keys, policies. No key has it."""


KEY_SCOPES: Final = frozenset(Scope) - {Scope.MEMBER, Scope.ADMIN}
"""What an API key may be given."""

ROLE_SCOPES: Final[Mapping[Role, frozenset[Scope]]] = {
    Role.ADMIN: frozenset(Scope),
    Role.STAFF: frozenset(
        {Scope.MEMBER, Scope.FACES_READ, Scope.FACES_WRITE, Scope.PHOTOS_READ, Scope.SEARCH}
    ),
    Role.AUDITOR: frozenset({Scope.MEMBER, Scope.FACES_READ, Scope.LOGS_READ}),
}
