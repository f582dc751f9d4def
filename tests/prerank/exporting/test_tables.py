"""Tables as they are stored."""

from __future__ import annotations

import numpy as np
import pytest

from configs.errors import InputError
from configs.schema import TablePrecision
from prerank.exporting.tables import restored, stored


def test_int8_has_a_scale_for_each_row_and_errs_by_half_a_step() -> None:
    table = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32) * 10.0 ** np.arange(-25, 25)[:, None]
    table[3] = 0
    arrays = stored(table.astype(np.float32), TablePrecision.int8, "t")
    assert arrays["t"].dtype == np.int8
    assert arrays["t.scale"].shape == (50,)
    error = np.abs(restored(arrays, "t") - table)
    assert (error <= 0.501 * arrays["t.scale"][:, None]).all()
    assert not restored(arrays, "t")[3].any()


def test_float32_is_stored_as_it_is() -> None:
    table = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert list(stored(table, TablePrecision.fp32, "t")) == ["t"]
    np.testing.assert_array_equal(restored(stored(table, TablePrecision.fp32, "t"), "t"), table)


@pytest.mark.parametrize(("value", "precision"), [(1e6, "fp16"), (np.nan, "fp32"), (np.inf, "int8"), (-np.inf, "fp16")])
def test_what_a_precision_cannot_hold_is_refused(value: float, precision: str) -> None:
    with pytest.raises(InputError, match=f"t holds values that are not finite as {precision}"):
        stored(np.full((2, 2), value, np.float32), TablePrecision(precision), "t")


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_an_empty_table_is_stored(shape: tuple[int, int]) -> None:
    for precision in TablePrecision:
        assert restored(stored(np.zeros(shape, np.float32), precision, "t"), "t").shape == shape
