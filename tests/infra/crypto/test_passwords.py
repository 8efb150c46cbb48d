import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type

from infra.crypto.passwords import OWASP_COST, PasswordCost, PasswordHashUnreadable, Passwords, PasswordsBusy

CHEAP = PasswordCost(memory_kib=8, passes=1, lanes=1)


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    made = Passwords(CHEAP)
    yield made
    await made.close()


async def test_the_right_password_verifies_and_others_do_not(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse battery staple")
    assert await passwords.verify(stored, "correct horse battery staple")
    assert not await passwords.verify(stored, "Correct horse battery staple")
    assert not await passwords.verify(stored, "")


async def test_the_hash_is_argon2id_with_a_salt_of_its_own(passwords: Passwords) -> None:
    one, other = await passwords.hash("secret"), await passwords.hash("secret")
    assert one != other
    assert one.startswith("$argon2id$v=19$m=8,t=1,p=1$")


async def test_the_default_cost_is_owasps() -> None:
    passwords = Passwords()
    stored = await passwords.hash("secret")
    await passwords.close()
    parameters = extract_parameters(stored)
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19_456, 2, 1)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)


async def test_one_password_typed_on_two_systems_is_the_same(passwords: Passwords) -> None:
    stored = await passwords.hash("man\u0303ana")
    assert await passwords.verify(stored, "ma\u00f1ana")


async def test_an_unknown_account_is_false_at_the_cost_of_a_known_one() -> None:
    passwords = Passwords(CHEAP)
    # The stand-in has to be verified in earnest, so it must be a hash of the same parameters.
    assert extract_parameters(passwords._nobody) == extract_parameters(await passwords.hash("secret"))
    assert not await passwords.verify(None, "secret")
    assert not await passwords.verify(None, "")
    await passwords.close()


async def test_a_hash_of_another_cost_still_verifies_and_asks_to_be_made_again(passwords: Passwords) -> None:
    dearer = Passwords(PasswordCost(memory_kib=16, passes=1, lanes=1))
    stored = await passwords.hash("secret")
    assert await dearer.verify(stored, "secret")
    assert dearer.needs_rehash(stored)
    assert not passwords.needs_rehash(stored)
    await dearer.close()


@pytest.mark.parametrize(
    "damaged", ["", "plain", "$argon2id$v=19$m=8,t=1,p=1$AAAA", "$argon2id$v=19$m=8,t=1,p=1$!$!"]
)
async def test_a_damaged_hash_is_an_error_and_is_not_repeated(passwords: Passwords, damaged: str) -> None:
    with pytest.raises(PasswordHashUnreadable) as error:
        await passwords.verify(damaged, "secret")
    assert error.value.__cause__ is None


async def test_the_salt_comes_from_the_source_that_was_handed_in() -> None:
    passwords = Passwords(CHEAP, entropy=bytes)
    assert await passwords.hash("secret") == await passwords.hash("secret")
    await passwords.close()


async def test_more_callers_than_may_wait_are_turned_away() -> None:
    passwords = Passwords(CHEAP, concurrency=1, waiting=1)
    release, started = threading.Event(), threading.Event()

    def occupy() -> None:
        started.set()
        release.wait()

    passwords._pool.submit(occupy)
    await asyncio.to_thread(started.wait)
    waiting = [asyncio.create_task(passwords.hash("secret")) for _ in range(2)]
    await asyncio.sleep(0)
    try:
        with pytest.raises(PasswordsBusy):
            await asyncio.wait_for(passwords.hash("secret"), timeout=10)
    finally:
        release.set()
    assert len(await asyncio.gather(*waiting)) == 2
    assert await passwords.hash("secret")
    await passwords.close()


async def test_a_caller_that_gives_up_makes_room() -> None:
    passwords = Passwords(CHEAP, concurrency=1, waiting=0)
    task = asyncio.create_task(passwords.hash("secret"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert await passwords.hash("secret")
    await passwords.close()


def test_owasps_minimum_has_not_been_lowered() -> None:
    assert PasswordCost(memory_kib=19_456, passes=2, lanes=1) == OWASP_COST
