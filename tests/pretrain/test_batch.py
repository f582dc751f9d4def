"""Batches made ahead: the same ones in the same order, and an error comes out where it would have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pretrain.backends.batch import AHEAD, ahead


@pytest.mark.parametrize("count", [0, 1, AHEAD, 20])
def test_the_same_items_in_the_same_order(count: int) -> None:
    assert list(ahead(iter(range(count)))) == list(range(count))


def test_no_more_than_a_few_are_made_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    taken = ahead(items())
    for number in range(5):
        assert next(taken) == number
        assert len(made) <= number + 1 + AHEAD
    taken.close()  # type: ignore[attr-defined]
    assert list(ahead(iter("abc"))) == ["a", "b", "c"], "one that was left does not disturb the next"


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    taken = ahead(items())
    assert next(taken) == 1
    with pytest.raises(KeyError, match="broken"):
        next(taken)
