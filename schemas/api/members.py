"""Members as a client sees them."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from schemas.access import Role
from schemas.api.accounts import NewPassword
from schemas.api.base import Answer, PageQuery, Request, examples
from schemas.fields import Email, Instant, Name


class MembersQuery(PageQuery):
    """All members of the company."""

    model_config = examples({"limit": 20})


class InviteRequest(Request):
    """Who is to be a member, and what they may do."""

    model_config = examples({"email": "grace@example.com", "role": "staff", "name": "Grace Hopper"})

    email: Email
    role: Role
    name: Name | None = None


class MemberChangeRequest(Request):
    """Another role, a voided password, or both."""

    model_config = examples({"role": "auditor"}, {"reset_password": True})

    role: Role | None = None
    reset_password: Literal[True] | None = None
    """Voids the password and ends all of the member's sessions at once; the answer has a token to set a new
    one."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.role is None and self.reset_password is None:
            raise ValueError("give role, reset_password or both")
        return self


class PasswordRequest(Request):
    """A new password, by whoever knows the present one or holds a set-password token."""

    model_config = examples(
        {"current_password": "a long enough password", "new_password": "another long enough password"}
    )

    new_password: NewPassword
    """At least 12 characters, whichever; the most easily guessed are refused."""
    current_password: SecretStr | None = Field(default=None, max_length=256)
    """Of the member who is logged in."""
    token: SecretStr | None = Field(default=None, max_length=512)
    """From POST /members, or from a reset; it works once, and takes no log-in."""

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        if (self.current_password is None) == (self.token is None):
            raise ValueError("give either current_password or token")
        return self


class MemberAnswer(Answer):
    """A member."""

    member_id: str
    email: str
    name: str | None
    role: Role
    state: Literal["active", "invited"]
    """Invited: no password is set, so nobody can log in as this member."""
    created_at: Instant
    created_by: str | None
    """The credential that invited the member; null for who registered the company."""


class MemberPage(Answer):
    """Members, newest first."""

    items: list[MemberAnswer]
    next_cursor: str | None


class MemberTokenAnswer(MemberAnswer):
    """A member, and where one was made the token with which they set a password at POST /me/password: shown
    here and never again."""

    set_password_token: str | None = None
    """For POST /me/password, once; null where none was made."""
    set_password_token_expires_at: Instant | None = None
