import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.crypto.cipher import Unsealable
from infra.keys.job import JobCipher, new_job_key


@given(st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=200))
def test_a_body_opens_behind_its_own_header_only(header: bytes, other: bytes, body: bytes) -> None:
    key = new_job_key()
    sealed = JobCipher(key, header).seal(body)
    assert JobCipher(key, header).open(sealed) == body
    if header != other:
        with pytest.raises(Unsealable):
            JobCipher(key, other).open(sealed)
    with pytest.raises(Unsealable):
        JobCipher(new_job_key(), header).open(sealed)


def test_each_job_has_a_key_of_its_own() -> None:
    assert new_job_key() != new_job_key()
    assert new_job_key(lambda length: bytes([7]) * length) == bytes([7] * 32)
