"""The chain of the audit log: whatever is changed, removed, slipped in or cut off is found."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.access.audit import Act, AuditEntry, Head, check_chain, in_order, next_entry

TEXTS = st.text(max_size=40)
ACTS = st.builds(Act, who=TEXTS, act=TEXTS, target=TEXTS, before=TEXTS, after=TEXTS, client=TEXTS, request_id=TEXTS)


def chain_of(acts: list[Act]) -> tuple[list[AuditEntry], Head]:
    """The entries of acts, and the end of the chain."""
    head, entries = Head(), []
    for number, act in enumerate(acts):
        entry = next_entry(head, act, at_us=1_790_000_000_000_000 + number, node="node-1")
        head = Head(entry.seq, entry.digest)
        entries.append(entry)
    return entries, head


@given(st.lists(ACTS, max_size=8))
def test_what_nobody_touched_is_whole(acts: list[Act]) -> None:
    """Whatever stands in it, and after any store gave it back as text."""
    entries, head = chain_of(acts)
    read = in_order(AuditEntry.parse(one.encode()) for one in reversed(entries))

    assert not check_chain(read, Head.parse(head.encode())).fault


@given(st.lists(ACTS, min_size=1, max_size=6), st.data())
def test_one_changed_field_is_found(acts: list[Act], data: st.DataObject) -> None:
    """In any entry, in any field."""
    entries, head = chain_of(acts)
    at = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(
        st.sampled_from(["who", "act", "target", "before", "after", "client", "node", "digest", "previous"])
    )
    entries[at] = replace(entries[at], **{name: getattr(entries[at], name) + "x"})

    assert check_chain(entries, head).fault


TEN, END = chain_of([Act(f"user-{number}", "user.added", "x") for number in range(10)])
FORGED = next_entry(Head(TEN[4].seq, TEN[4].digest), Act("nobody", "user.added"), at_us=1, node="node-1")


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        pytest.param(TEN[:5] + TEN[6:], "Entry 6 is missing.", id="one-removed"),
        pytest.param(TEN[:2] + TEN[6:], "Entries 3 to 6 are missing.", id="some-removed"),
        pytest.param(TEN[3:], "Entries 1 to 3 are missing.", id="the-beginning-removed"),
        pytest.param(TEN[:8], "Entries 9 to 10 are missing at the end.", id="the-end-cut-off"),
        pytest.param([], "Entries 1 to 10 are missing at the end.", id="all-removed"),
        pytest.param(in_order([*TEN, FORGED]), "There are two entries with the number 6.", id="one-slipped-in"),
        pytest.param([*TEN[:5], FORGED, *TEN[6:]], "Entry 7 does not follow 6: one was changed.", id="one-replaced"),
        pytest.param([*TEN[:5], FORGED], "Entries 7 to 10 are missing at the end.", id="the-end-replaced-by-less"),
        pytest.param(
            [*TEN[:9], next_entry(Head(9, TEN[8].digest), Act("n", "a"), at_us=1, node="n")],
            "The chain ends with entry 10, and the book says otherwise.", id="the-last-replaced",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(entries: list[AuditEntry], fault: str) -> None:
    """So that whoever reads it knows where to look."""
    verdict = check_chain(entries, END)

    assert verdict.fault == fault


def test_a_text_without_end_is_cut() -> None:
    """One act can't fill the log."""
    assert len(next_entry(Head(), Act("w" * 100_000, "a"), at_us=1, node="n").who) == 2_000
