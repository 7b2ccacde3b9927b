"""Blocks that are needed at one time never overlap, and the plan knows how good it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgebed.compile.memory_plan import Block, lower_bound, place

BLOCKS = st.lists(
    st.builds(
        lambda size, first, length: Block(size, first, first + length),
        st.integers(1, 5000),
        st.integers(0, 20),
        st.integers(0, 8),
    ),
    max_size=25,
)


@given(BLOCKS)
def test_blocks_that_meet_lie_apart(blocks: list[Block]) -> None:
    plan = place(blocks)
    for i, a in enumerate(blocks):
        assert plan.offsets[i] % 64 == 0
        assert plan.offsets[i] + a.size <= plan.peak
        for j in range(i):
            if a.meets(blocks[j]):
                before = plan.offsets[i] + a.size <= plan.offsets[j]
                assert before or plan.offsets[j] + blocks[j].size <= plan.offsets[i]


@given(BLOCKS)
def test_the_bound_holds_and_the_plan_is_the_same_each_time(blocks: list[Block]) -> None:
    plan = place(blocks)
    assert plan == place(blocks)
    assert plan.lower_bound <= plan.peak <= sum(-(-block.size // 64) * 64 for block in blocks)
    most = max(
        (sum(b.size for b in blocks if b.first <= t <= b.last) for t in range(30)), default=0
    )
    assert lower_bound(blocks) == most <= plan.lower_bound


def test_a_chain_meets_its_bound() -> None:
    """Each tensor lives until the next is written: two neighbours share the arena."""
    sizes = [640, 128, 1024, 64, 2048, 512]
    blocks = [Block(size, step, step + 1) for step, size in enumerate(sizes)]
    plan = place(blocks)
    assert plan.peak == plan.lower_bound == 2048 + 512


def test_nothing_needs_nothing() -> None:
    assert place([]).peak == 0
