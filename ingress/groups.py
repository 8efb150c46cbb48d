"""What a credential that is bound to groups has to do with: the users in one of them, and nobody else."""

from ingress.auth import Identity
from schemas.problems import ProblemError
from schemas.records import User


def sees(identity: Identity, user: User | None) -> bool:
    """Whether the user is there, as far as this credential is concerned."""
    if user is None or user.user_id_sealed is None:
        return False
    return identity.groups is None or not identity.groups.isdisjoint(user.groups)


def groups_searched(identity: Identity, asked: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The groups that a search is limited to; None for everybody.

    Raises `ProblemError("forbidden")` when groups are asked for that the credential has nothing to do
    with."""
    if identity.groups is None:
        return asked
    if asked is None:
        return tuple(sorted(identity.groups))
    _require_own(identity.groups, asked)
    return asked


def _require_own(own: frozenset[str], asked: tuple[str, ...]) -> None:
    if not own.issuperset(asked):
        raise ProblemError("forbidden", "This key is bound to other groups.")
