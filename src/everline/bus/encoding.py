"""
Facts as fields of a Redis hash: text that sorts, byte by byte, as the values do.

A fact that is one number is its decimal text, and Redis compares it as a number (all of them are below 2^53). Any
other value is put together of its parts: a number as 16 hexadecimal digits, a text with a NUL behind it. A fact that
is a set is one field a member, `<name>/<member>`, so that writing a member twice changes nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from everline.bus.steps import PROGRESS_SETS, PROGRESS_SINGLE
from everline.calls.event import Event
from everline.calls.facts import FACTS, NOTHING, Fact, Law, index_of

_TEXT: Final = str.maketrans({"\0": "\1\1", "\1": "\1\2"})
"""NUL ends a text, so that a shorter one sorts first; what is escaped still sorts as before."""


@dataclass(frozen=True, slots=True)
class Field:
    """
    How one fact is kept.

    Attributes:
        is_number: Compared as a number.
        is_progress: A change of it may bring the call a step further.
    """

    name: str
    law: Law
    is_number: bool
    is_progress: bool
    encode: Callable[[Any], str]
    decode: Callable[[str], Any]


def encode_facts(values: Iterable[Any]) -> dict[str, str]:
    """Facts, or values as `absorb` makes them, as fields of a hash."""
    fields: dict[str, str] = {}
    for field, value in zip(FIELDS, values, strict=True):
        if value is None:
            continue
        if field.law is Law.UNION:
            fields.update((f"{field.name}/{field.encode(one)}", "") for one in value)
        else:
            fields[field.name] = field.encode(value)
    return fields


def decode_facts(fields: Mapping[str, str]) -> list[Any]:
    """Values as `absorb` makes them, from the fields of a hash; fields of another version of Everline are left out."""
    values: list[Any] = list(NOTHING)
    for name, text in fields.items():
        fact, slash, member = name.partition("/")
        index = _INDEX.get(fact)
        if index is None or bool(slash) is not (FIELDS[index].law is Law.UNION):
            continue
        if slash:
            known = values[index] = values[index] or set()
            known.add(FIELDS[index].decode(member))
        else:
            values[index] = FIELDS[index].decode(text)
    return values


def _field(fact: Fact) -> Field:
    kinds = tuple(Event.__annotations__[name] is int for name in fact.fields)
    is_number = kinds == (True,) and fact.law is not Law.UNION
    is_progress = fact.name in {*PROGRESS_SINGLE, *PROGRESS_SETS}
    encode, decode = (str, int) if is_number else _parts(kinds)
    return Field(fact.name, fact.law, is_number, is_progress, encode, decode)


def _parts(kinds: tuple[bool, ...]) -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    is_single = len(kinds) == 1

    def encode(value: Any) -> str:
        parts = (value,) if is_single else value
        return "".join([_number(one) if is_int else _text(one) for one, is_int in zip(parts, kinds, strict=True)])

    def decode(text: str) -> Any:
        parts, at = [], 0
        for is_int in kinds:
            end = at + 16 if is_int else text.index("\0", at)
            parts.append(int(text[at:end], 16) if is_int else _plain(text[at:end]))
            at = end if is_int else end + 1
        return parts[0] if is_single else tuple(parts)

    return (_number if kinds == (True,) else encode), decode


def _number(value: int) -> str:
    return f"{value:016x}"


def _text(value: str) -> str:
    return (value if value.isprintable() else value.translate(_TEXT)) + "\0"


def _plain(text: str) -> str:
    return text.replace("\1\1", "\0").replace("\1\2", "\1") if "\1" in text else text


FIELDS: Final = tuple(map(_field, FACTS))
_INDEX: Final = {field.name: index_of(field.name) for field in FIELDS}
