"""Passwords: argon2id, a few at a time, and none that is guessed at once."""

import asyncio

import pytest

from everline.access.errors import AccessBusyError, WeakPasswordError
from everline.access.passwords import AT_ONCE, WAITING, Passwords, check_strength


async def test_a_password_is_known_by_its_hash_alone() -> None:
    """As RFC 9106 recommends it: argon2id, 64 MiB, three passes; another salt each time."""
    passwords = Passwords()
    one, two = await passwords.hash("correct horse battery"), await passwords.hash("correct horse battery")

    assert one.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert one != two
    assert await passwords.verify(one, "correct horse battery")
    assert not await passwords.verify(one, "correct horse batterx")


@pytest.mark.parametrize("kept", ["", "$argon2id$garbage", "plain", "$argon2id$v=19$m=65536,t=3,p=4$YQ$YQ"])
async def test_without_a_hash_no_password_is_right(kept: str) -> None:
    """For nobody, and for an entry that was damaged."""
    assert not await Passwords().verify(kept, "nobody has this password")


async def test_a_crowd_is_told_to_come_again() -> None:
    """Each takes 64 MiB and a tenth of a second: so many wait, and no more."""
    passwords = Passwords()
    asked = [passwords.verify("", f"word {number}") for number in range(WAITING + AT_ONCE + 5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert {type(one) for one in answers} == {bool, AccessBusyError}
    assert sum(isinstance(one, AccessBusyError) for one in answers) >= 5


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "has 5 characters"), ("x" * 257, "has 257 characters"), ("alice in chains", "holds the user's name"),
        ("abcabcabcabcabc", "fewer than 5 different"),
    ],
    ids=["short", "without-end", "the-name", "few-letters"],
)  # fmt: skip
def test_what_is_guessed_first_is_refused(password: str, why: str) -> None:
    """With the reason, and without the password."""
    with pytest.raises(WeakPasswordError, match=why) as refused:
        check_strength(password, name="alice")
    assert password not in str(refused.value)
