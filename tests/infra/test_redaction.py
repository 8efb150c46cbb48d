import dataclasses
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from infra.crypto.cipher import Unsealable, open_
from infra.crypto.opaque import OpaqueTokens, TokenKind
from infra.keys.errors import CompanyKeyGone
from infra.redaction import MASK, describe_exception, redact, redact_text

COMPANY = UUID("0198c0de-1111-7222-8333-444455556666")


@pytest.mark.parametrize(
    "key",
    [
        *(
            "password",
            "new_password",
            "Authorization",
            "X-API-Key",
            "access_token",
            "job_key",
            "set-cookie",
            "email",
        ),
        *(
            "user_id",
            "nearest_user_id",
            "full_name",
            "reference_id",
            "metadata",
            "template",
            "photo",
            "url",
            "body",
        ),
    ],
)
@pytest.mark.parametrize("value", ["x", b"x", ["x"], {"a": "x"}, 7, 7.5])
def test_what_has_a_sensitive_name_is_masked(key: str, value: object) -> None:
    assert redact(key, value) == MASK


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            ("photo_bytes", 4096),
            ("token_count", 3),
            ("template_version", 2),
            ("attempt", 1),
            ("ready", True),
        ),
        *(("company_id", "c"), ("job_id", "j"), ("topic", "enroll"), ("duration_ms", 1.5), ("port", None)),
    ],
)
def test_what_is_harmless_is_kept(key: str, value: object) -> None:
    assert redact(key, value) == value


def test_a_measure_is_masked_when_it_is_no_number() -> None:
    assert redact("photo_bytes", b"\xff\xd8") == MASK


@given(st.binary(min_size=32, max_size=32), st.sampled_from(TokenKind))
def test_our_tokens_are_masked_wherever_they_stand(secret: bytes, kind: TokenKind) -> None:
    token = OpaqueTokens(kind, bytes(32), lambda _: secret).generate(COMPANY, COMPANY).text
    for text in (token, f"key={token}.", f"({token})"):
        assert token[8:] not in redact_text(text)
        assert token[8:] not in redact_text(text, opaque_allowed=True)


@pytest.mark.parametrize(
    "secret",
    [
        jwt.encode({"sub": "x"}, "k" * 32),
        "Bearer abcdefgh12345",
        "$argon2id$v=19$m=8,t=1,p=1$AAAA$BBBB",
        "ann@example.org",
        "-----BEGIN EC PRIVATE KEY-----\nMHcC\nAQEE\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMHcC",
    ],
)
def test_what_looks_like_a_secret_is_masked(secret: str) -> None:
    for allowed in (False, True):
        assert redact_text(secret, opaque_allowed=allowed) == MASK
        assert redact_text(f"before {secret}", opaque_allowed=allowed) == f"before {MASK}"


@pytest.mark.parametrize(
    "random", ["0123456789abcdef" * 4, "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk", "aB/+" * 12 + "=="]
)
def test_long_encoded_values_are_masked_but_for_a_correlation_id(random: str) -> None:
    assert redact("detail", f"got {random}!") == f"got {MASK}!"
    assert redact("correlation_id", random) == random


def test_the_password_of_a_url_is_masked_and_its_host_kept() -> None:
    masked = redact_text("mongodb://root:hunter2@db.internal:27017/faceid")
    assert "hunter2" not in masked
    assert masked.endswith("db.internal:27017/faceid")


@pytest.mark.parametrize(
    "text",
    [
        f"inflight/{COMPANY}/{COMPANY}",
        "a_long_event_name_that_is_made_of_words_and_nothing_else",
        "the certificate authority isn't allowed to vouch",
        "/srv/faceid/.faceid/data/records.sqlite3",
    ],
)
def test_what_an_operator_needs_is_kept(text: str) -> None:
    assert redact_text(text) == text


def test_long_text_is_cut_after_it_was_masked() -> None:
    token = OpaqueTokens(TokenKind.API_KEY, bytes(32)).generate(COMPANY, COMPANY).text
    shown = redact_text(" " * 980 + token + " tail" * 10_000)
    assert len(shown) == 1001
    assert token[:12] not in shown


@dataclasses.dataclass
class Person:
    nickname: str


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (COMPANY, str(COMPANY)),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01 00:00:00+00:00"),
        (timedelta(seconds=90), "0:01:30"),
        (Path("/srv/data"), "/srv/data"),
        (Colour.RED, "red"),
        (b"\xff\xd8", "[2 bytes]"),
        (bytearray(3), "[3 bytes]"),
        (Person("Zoë"), "[Person]"),
        (ValueError("Zoë"), "ValueError"),
        (CompanyKeyGone(COMPANY), "infra.keys.errors.CompanyKeyGone (company_key_gone)"),
        ({"state": "up", "email": "ann@example.org"}, {"state": "up", "email": MASK}),
        ((1, "two", Person("Zoë")), [1, "two", "[Person]"]),
        (list(range(1000)), list(range(20))),
        ([[[[["deep"]]]]], [[[["[list]"]]]]),
        ({"ann@example.org": 1}, {MASK: 1}),
    ],
)
def test_values_become_plain_and_small(value: object, shown: object) -> None:
    assert redact("detail", value) == shown


class Enrolment(BaseModel):
    age: int


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """The error, with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error from cause
    return caught.value


def test_a_librarys_error_is_named_and_located_and_not_quoted() -> None:
    with pytest.raises(ValidationError) as error:
        Enrolment.model_validate({"age": "Zoë"})
    described = describe_exception(error.value)
    assert described["type"] == "pydantic_core._pydantic_core.ValidationError"
    assert "Zoë" not in str(described)
    assert "message" not in described
    assert described["frames"][0].startswith("tests/infra/test_redaction.py:")
    assert described["frames"][0].endswith("test_a_librarys_error_is_named_and_located_and_not_quoted")


def test_our_error_is_quoted_with_its_code_and_cause() -> None:
    described = describe_exception(raised(CompanyKeyGone(COMPANY), raised(KeyError("Zoë"))))
    assert described["code"] == "company_key_gone"
    assert described["message"] == f"Company {COMPANY} has no key."
    assert described["cause"]["type"] == "KeyError"
    assert "Zoë" not in str(described)


def test_a_context_that_was_suppressed_stays_out() -> None:
    with pytest.raises(Unsealable) as error:
        open_(bytes(32), bytes([1]) + bytes(40), b"")
    assert error.value.__context__ is not None
    assert "cause" not in describe_exception(error.value)


def test_an_operating_system_error_says_which_without_its_file_name() -> None:
    described = describe_exception(FileNotFoundError(2, "No such file or directory", "Zoë.jpg"))
    assert described["errno"] == "ENOENT"
    assert "Zoë" not in str(described)


def test_the_members_of_a_group_are_described() -> None:
    group = raised(ExceptionGroup("Zoë", [raised(ValueError("Zoë")), Unsealable()]))
    described = describe_exception(group)
    assert [one["type"] for one in described["exceptions"]] == [
        "ValueError",
        "infra.crypto.cipher.Unsealable",
    ]
    assert "Zoë" not in str(described)


def test_endless_causes_and_recursion_end() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first

    def recurse() -> None:
        recurse()

    with pytest.raises(RecursionError) as deep:
        recurse()
    assert describe_exception(first)["cause"]["cause"]["type"] == "ValueError"
    assert len(describe_exception(deep.value)["frames"]) == 20
