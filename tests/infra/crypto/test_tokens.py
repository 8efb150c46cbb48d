from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.clock import ManualClock
from infra.crypto.tokens import AccessTokenPolicy, AccessTokens, TokenInvalid

KEY = bytes(range(32))
MEMBER, COMPANY, SESSION = (UUID(int=number) for number in (1, 2, 3))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(clock: ManualClock) -> AccessTokens:
    return AccessTokens(KEY, clock)


def issue(tokens: AccessTokens) -> str:
    return tokens.issue(member_id=MEMBER, company_id=COMPANY, session_id=SESSION)


def refusal(tokens: AccessTokens, token: str) -> str:
    with pytest.raises(TokenInvalid) as refused:
        tokens.verify(token)
    assert refused.value.__cause__ is None
    return refused.value.code


def test_a_token_says_who_asks(tokens: AccessTokens, clock: ManualClock) -> None:
    claims = tokens.verify(issue(tokens))
    assert (claims.member_id, claims.company_id, claims.session_id) == (MEMBER, COMPANY, SESSION)
    assert claims.expires_at == clock.now() + timedelta(minutes=15)
    assert claims.token_id != tokens.verify(issue(tokens)).token_id


def test_its_header_and_claims_are_the_registered_ones(tokens: AccessTokens) -> None:
    token = issue(tokens)
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"]) == ("HS256", "at+jwt")
    assert len(header["kid"]) == 16
    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == {"iss", "aud", "sub", "cid", "sid", "jti", "iat", "exp"}


def test_it_ends_after_its_lifetime_and_the_leeway(tokens: AccessTokens, clock: ManualClock) -> None:
    token = issue(tokens)
    clock.advance(900 + 29)
    tokens.verify(token)
    clock.advance(1)
    assert refusal(tokens, token) == "token_expired"


def test_it_does_not_begin_in_the_future_beyond_the_leeway(tokens: AccessTokens, clock: ManualClock) -> None:
    ahead = ManualClock(clock.now() + timedelta(seconds=31))
    token = issue(AccessTokens(KEY, ahead))
    assert refusal(tokens, token) == "invalid_token"
    clock.advance(1)
    tokens.verify(token)


def test_an_expired_forgery_is_not_told_that_it_expired(tokens: AccessTokens, clock: ManualClock) -> None:
    forged = issue(AccessTokens(bytes(32), clock))
    clock.advance(10_000)
    assert refusal(tokens, forged) == "invalid_token"


def test_other_issuers_and_audiences_are_refused(tokens: AccessTokens, clock: ManualClock) -> None:
    for policy in (AccessTokenPolicy(issuer="other"), AccessTokenPolicy(audience="other")):
        assert refusal(tokens, issue(AccessTokens(KEY, clock, policy))) == "invalid_token"


def forge(tokens: AccessTokens, changes: dict[str, Any], algorithm: str = "HS256") -> str:
    """A token with the right key, but other contents; None leaves a claim out."""
    token = issue(tokens)
    claims = jwt.decode(token, options={"verify_signature": False}) | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    header = jwt.get_unverified_header(token)
    key = "" if algorithm == "none" else KEY
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": header["kid"], "typ": "at+jwt"})


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "cid", "sid", "jti", "iat", "exp"])
def test_every_claim_is_needed(tokens: AccessTokens, claim: str) -> None:
    assert refusal(tokens, forge(tokens, {claim: None})) == "invalid_token"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": "9999999999"},
        {"exp": 1e300},
        {"exp": 10**20},
        {"iat": True},
        {"sub": "somebody"},
        {"cid": [str(COMPANY)]},
        {"jti": ""},
        {"jti": {"a": 1}},
    ],
)
def test_claims_of_another_form_are_refused(tokens: AccessTokens, changes: dict[str, Any]) -> None:
    assert refusal(tokens, forge(tokens, changes)) == "invalid_token"


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_other_algorithms_are_refused(tokens: AccessTokens, algorithm: str) -> None:
    assert refusal(tokens, forge(tokens, {}, algorithm)) == "invalid_token"


def test_another_kind_of_jwt_of_the_same_key_is_refused(tokens: AccessTokens) -> None:
    token = issue(tokens)
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    for headers in (
        {"kid": header["kid"], "typ": "JWT"},
        {"kid": "0" * 16, "typ": "at+jwt"},
        {"typ": "at+jwt"},
    ):
        assert refusal(tokens, jwt.encode(claims, KEY, "HS256", headers=headers)) == "invalid_token"


@given(st.data())
def test_no_character_can_be_changed(data: st.DataObject) -> None:
    tokens = AccessTokens(KEY, ManualClock())
    token = issue(tokens)
    place = data.draw(st.integers(0, len(token) - 2))  # The last has bits that encode nothing.
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != token[place]))
    assert refusal(tokens, token[:place] + other + token[place + 1 :]) == "invalid_token"


@given(st.text() | st.text("eyJ.[{\"'", max_size=50))
def test_garbage_is_refused(garbage: str) -> None:
    assert refusal(AccessTokens(KEY, ManualClock()), garbage) == "invalid_token"


def test_deep_and_long_garbage_is_refused(tokens: AccessTokens) -> None:
    nested = urlsafe_b64encode(b"[" * 1500).decode()
    assert refusal(tokens, f"{nested}.e30.") == "invalid_token"
    assert refusal(tokens, f"{nested[:400]}.e30.") == "invalid_token"
    assert refusal(tokens, issue(tokens) + "A" * 10_000) == "invalid_token"
    assert refusal(tokens, "\udcff.a.a") == "invalid_token"
