import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.crypto.cipher import KEY_BYTES, OVERHEAD_BYTES, Unsealable, open_, seal

keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


@given(keys, st.binary(max_size=500), st.binary(max_size=50))
def test_what_is_sealed_opens(key: bytes, plaintext: bytes, aad: bytes) -> None:
    sealed = seal(key, plaintext, aad)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert open_(key, sealed, aad) == plaintext
    assert open_(key, memoryview(bytearray(sealed)), aad) == plaintext


@given(keys, st.binary(max_size=100), st.binary(max_size=50), st.data())
def test_a_flipped_bit_anywhere_is_noticed(
    key: bytes, plaintext: bytes, aad: bytes, data: st.DataObject
) -> None:
    sealed = bytearray(seal(key, plaintext, aad))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Unsealable):
        open_(key, sealed, aad)


@given(keys, st.binary(max_size=100), st.data())
def test_a_cut_value_is_noticed(key: bytes, plaintext: bytes, data: st.DataObject) -> None:
    sealed = seal(key, plaintext, b"")
    with pytest.raises(Unsealable):
        open_(key, sealed[: data.draw(st.integers(0, len(sealed) - 1))], b"")


@given(keys, keys, st.binary(max_size=50), st.binary(max_size=50))
def test_another_key_or_place_does_not_open(key: bytes, other: bytes, aad: bytes, elsewhere: bytes) -> None:
    sealed = seal(key, b"template", aad)
    for wrong_key, wrong_aad in ((other, aad), (key, elsewhere), (other, elsewhere)):
        if (wrong_key, wrong_aad) != (key, aad):
            with pytest.raises(Unsealable):
                open_(wrong_key, sealed, wrong_aad)


@given(st.binary(max_size=100))
def test_garbage_is_refused_in_one_way(garbage: bytes) -> None:
    with pytest.raises(Unsealable) as refusal:
        open_(bytes(KEY_BYTES), garbage, b"")
    assert str(refusal.value) == str(Unsealable())


def test_each_seal_takes_a_nonce_from_the_source_that_was_handed_in() -> None:
    key = os.urandom(KEY_BYTES)
    assert seal(key, b"a", b"") != seal(key, b"a", b"")
    assert seal(key, b"a", b"", bytes) == seal(key, b"a", b"", bytes)
    assert seal(key, b"a", b"", bytes)[1:13] == bytes(12)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        seal(bytes(length), b"", b"")
    with pytest.raises(ValueError, match="32 bytes"):
        open_(bytes(length), bytes(40), b"")


def test_it_is_aes_256_gcm() -> None:
    # McGrew and Viega, "The Galois/Counter Mode of Operation", test case 14, but for the version in the
    # associated data, which changes the tag alone.
    sealed = seal(bytes(32), bytes(16), b"", bytes)
    assert sealed[13:29].hex() == "cea7403d4d606b6e074ec5d3baf39d18"
