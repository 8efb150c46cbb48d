"""Companies and log-ins: registering, logging in, and the tokens that come of it."""

from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from schemas.api.base import Answer, Request, examples
from schemas.fields import Email, Name

_MIN_DIFFERENT_CHARACTERS: Final = 5


NewPassword = Annotated[SecretStr, Field(min_length=12, max_length=256)]
"""Passwords follow NIST SP 800-63B-3 §5.1.1.2: length counts and composition does not, every character is
welcome, and what an attacker tries first is refused (`checked_password`). Where it asks for 8 characters, 12
are asked for here."""


def checked_password(password: SecretStr, *known: str) -> SecretStr:
    """The password, unless it is one of the first guesses of who knows what is `known` of the account.
    Raises ValueError."""
    text = password.get_secret_value().casefold()
    if text in {word.casefold() for word in known} or len(set(text)) < _MIN_DIFFERENT_CHARACTERS:
        raise ValueError("is too easily guessed")
    return password


class RegisterRequest(Request):
    """A company and its first admin."""

    model_config = examples(
        {"company_name": "Example Ltd", "email": "ada@example.com", "password": "a long enough password"}
    )

    company_name: Name
    email: Email
    """What the admin logs in with; one account an address."""
    password: NewPassword
    """At least 12 characters, whichever; the most easily guessed are refused."""

    @field_validator("password")
    @classmethod
    def _not_the_first_guess(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        known = (str(info.data[name]) for name in ("company_name", "email") if name in info.data)
        return checked_password(password, *known)


class LoginRequest(Request):
    """What POST /register was given."""

    model_config = examples({"email": "ada@example.com", "password": "a long enough password"})

    email: Annotated[str, Field(max_length=254)]
    password: Annotated[SecretStr, Field(max_length=256)]


class RefreshRequest(Request):
    """The refresh token of the last answer; it works once."""

    model_config = examples({"refresh_token": "the refresh token of the last answer"})

    refresh_token: Annotated[SecretStr, Field(max_length=512)]


class RegisterAnswer(Answer):
    """The new company and its first admin."""

    company_id: UUID
    member_id: str


class TokenAnswer(Answer):
    """An access token response as RFC 6749 §5.1 has it."""

    access_token: str
    """What to send as `Authorization: Bearer`."""
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the type's name, no secret
    expires_in: int
    """Seconds that the access token has to live."""
    refresh_token: str
    """For POST /token/refresh, once."""
