"""Items are found by the hashes of their ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from configs.errors import InputError
from prerank.serving.items import UNSEEN, Catalogue, HashIndex

HASH = st.integers(1, 2**63 - 1) | st.integers(1, 40) | st.integers(2**63 - 40, 2**63 - 1)


@settings(deadline=None)
@given(st.lists(HASH, max_size=80), st.lists(HASH, max_size=30))
def test_find(known: list[int], others: list[int]) -> None:
    """Also where hashes lie close together, or twice: then it is the first."""
    hashes = np.sort(np.array(known, np.int64))
    asked = np.array(known + others, np.int64)
    places = HashIndex(hashes).find(asked)
    expected = [
        known_sorted.index(each) if each in known else UNSEEN
        for known_sorted in [sorted(known)]
        for each in asked.tolist()
    ]
    assert places.tolist() == expected


def test_rows_in_another_order(tmp_path: Path) -> None:
    counts = np.arange(3, dtype=np.int32)
    arrays = {"hash": np.array([5, 70, 900]), "row": np.int32([2, 0, 1]), "impressions": counts}
    save_file(arrays | {"clicks": counts, "orders": counts}, tmp_path / "items.safetensors")
    catalogue = Catalogue.open(tmp_path / "items.safetensors")
    assert catalogue.find(np.array([70, 6, 900, 5, 2**63 - 1])).tolist() == [0, UNSEEN, 1, 2, UNSEEN]
    assert (len(catalogue), catalogue.vectors, catalogue.in_p) == (3, None, None)
    save_file(arrays, tmp_path / "items.safetensors")
    with pytest.raises(InputError, match="'clicks'"):
        Catalogue.open(tmp_path / "items.safetensors")
