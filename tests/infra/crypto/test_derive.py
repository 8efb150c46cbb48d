import hashlib
import hmac
import unicodedata
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.crypto.derive import LOOKUP_BYTES, derive, exact_text, expand, folded_text, keyed_hash, lookup_hash
from infra.crypto.framing import frame

KEY = bytes(range(32))
parts = st.lists(st.binary(max_size=8) | st.text(max_size=8), max_size=4)


@given(parts, parts)
def test_different_parts_never_frame_alike(some: list[bytes | str], others: list[bytes | str]) -> None:
    def plain(values: list[bytes | str]) -> list[bytes]:
        return [value.encode() if isinstance(value, str) else value for value in values]

    assert (frame(*some) == frame(*others)) == (plain(some) == plain(others))


def test_a_uuid_frames_as_its_text() -> None:
    company_id = UUID("0198c0de-0000-7000-8000-000000000001")
    assert frame(company_id) == frame(str(company_id))


def test_derive_is_hkdf_as_rfc_5869_defines_it() -> None:
    extracted = hmac.digest(bytes(32), KEY, hashlib.sha256)
    expected = hmac.digest(extracted, frame("faceid/1", "purpose", "photo") + b"\x01", hashlib.sha256)
    assert derive(KEY, "photo") == expected


def test_keys_of_different_purposes_records_and_keys_differ() -> None:
    derived = {
        derive(KEY, "a"),
        derive(KEY, "b"),
        derive(bytes(32), "a"),
        expand(KEY, "a"),
        expand(KEY, "a", ""),
        expand(KEY, "", "a"),
    }
    assert len(derived) == 6
    assert {len(key) for key in derived} == {32}


def test_a_lookup_hash_is_the_first_half_of_hmac_sha256() -> None:
    # RFC 4231, test case 2.
    full = keyed_hash(b"Jefe", b"what do ya want for nothing?")
    assert full.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert lookup_hash(b"Jefe", b"what do ya want for nothing?") == full[:LOOKUP_BYTES]


@given(st.text())
def test_canonically_equal_text_is_the_same_text(text: str) -> None:
    for form in ("NFC", "NFD"):
        assert exact_text(unicodedata.normalize(form, text)) == exact_text(text)
        assert folded_text(unicodedata.normalize(form, text)) == folded_text(text)


@pytest.mark.parametrize(
    ("one", "other"), [("ANN@Example.org", "ann@example.ORG"), ("Straße", "STRASSE"), ("É", "e\u0301")]
)
def test_folded_text_ignores_case_and_exact_text_does_not(one: str, other: str) -> None:
    assert folded_text(one) == folded_text(other)
    assert exact_text(one) != exact_text(other)


def test_a_lone_surrogate_is_text_like_any_other() -> None:
    assert exact_text("\ud800") != exact_text("\ud801")
    assert folded_text("\ud800") != folded_text("\ud801")
    assert frame("\ud800") != frame("\ud801")
