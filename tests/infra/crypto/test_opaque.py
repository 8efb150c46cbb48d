from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.crypto.opaque import OpaqueTokens, TokenKind, TokenMalformed, _checksum

KEY = bytes(range(32))
COMPANY = UUID("0198c0de-0000-7000-8000-00000000000c")
RECORD = UUID("0198c0de-0000-7000-8000-000000000001")


@pytest.fixture(params=TokenKind)
def tokens(request: pytest.FixtureRequest) -> OpaqueTokens:
    return OpaqueTokens(request.param, KEY)


@given(st.uuids(), st.uuids(), st.binary(min_size=32, max_size=32), st.sampled_from(TokenKind))
def test_a_token_names_its_record_and_matches_its_digest(
    company_id: UUID, record_id: UUID, secret: bytes, kind: TokenKind
) -> None:
    tokens = OpaqueTokens(kind, KEY, lambda _: secret)
    new = tokens.generate(company_id, record_id)
    presented = tokens.parse(new.text)
    assert (presented.company_id, presented.record_id) == (company_id, record_id)
    assert presented.matches(new.digest)
    assert new.text.startswith(kind)
    assert len(new.text) == 97
    assert new.text.removeprefix(kind).isalnum()


def test_another_token_of_the_same_record_does_not_match(tokens: OpaqueTokens) -> None:
    old, new = tokens.generate(COMPANY, RECORD), tokens.generate(COMPANY, RECORD)
    assert not tokens.parse(old.text).matches(new.digest)


def test_only_the_holder_of_the_key_can_make_a_digest(tokens: OpaqueTokens) -> None:
    new = tokens.generate(COMPANY, RECORD)
    for kind in TokenKind:
        if new.text.startswith(kind):
            assert not OpaqueTokens(kind, bytes(32)).parse(new.text).matches(new.digest)


def test_a_digest_says_nothing_of_the_token(tokens: OpaqueTokens) -> None:
    new = tokens.generate(COMPANY, RECORD)
    assert len(new.digest) == 32
    assert new.text not in repr(new)
    assert repr(new.digest) not in repr(tokens.parse(new.text))


def test_a_token_of_one_kind_is_not_one_of_another() -> None:
    key = OpaqueTokens(TokenKind.API_KEY, KEY).generate(COMPANY, RECORD)
    refresh = OpaqueTokens(TokenKind.REFRESH, KEY)
    for text in (key.text, key.text.replace("fid_", "frt_")):
        with pytest.raises(TokenMalformed):
            refresh.parse(text)


@given(st.data())
def test_a_typing_error_is_noticed(data: st.DataObject) -> None:
    tokens = OpaqueTokens(TokenKind.API_KEY, KEY)
    text = tokens.generate(COMPANY, RECORD).text
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[place]))
    for mistyped in (
        text[:place] + other + text[place + 1 :],
        text[:place] + text[place + 1 :],
        text + other,
    ):
        with pytest.raises(TokenMalformed):
            tokens.parse(mistyped)


@given(st.text() | st.text("fid_0AZaz").map(lambda text: f"fid_{text}"))
def test_garbage_is_refused(garbage: str) -> None:
    with pytest.raises(TokenMalformed):
        OpaqueTokens(TokenKind.API_KEY, KEY).parse(garbage)


@pytest.mark.parametrize("ids", ["z" * 22 + "0" * 22, "0" * 22 + "z" * 22])
def test_an_id_beyond_128_bits_is_refused(ids: str) -> None:
    text = f"fid_{ids}{'0' * 43}"
    with pytest.raises(TokenMalformed):
        OpaqueTokens(TokenKind.API_KEY, KEY).parse(text + _checksum(text))
