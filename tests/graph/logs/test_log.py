"""The checked log as later stages open it, and the fingerprint of its catalogue."""

from __future__ import annotations

import pyarrow as pa
import pytest

from configs.errors import InputError
from graph.logs.log import SearchLog, catalogue_fingerprint
from graph.logs.prepare import prepare_log


def test_the_fingerprint_depends_on_ids_and_their_order_only():
    ids = pa.array(["a", "bc", "d"])
    one = catalogue_fingerprint(ids)
    assert one == catalogue_fingerprint(pa.chunked_array([["a"], ["bc", "d"]]))
    assert one == catalogue_fingerprint(ids.cast(pa.large_string()))
    assert one == catalogue_fingerprint(ids.dictionary_encode())
    assert one == catalogue_fingerprint(pa.array(["x", "a", "bc", "d"]).slice(1))
    assert one != catalogue_fingerprint(pa.array(["ab", "c", "d"]))
    assert one != catalogue_fingerprint(pa.array(["bc", "a", "d"]))
    assert one != catalogue_fingerprint(pa.array(["a", "bc"]))


def test_integers_of_any_width_agree_and_differ_from_their_digits():
    one = catalogue_fingerprint(pa.array([1, 2]))
    assert one == catalogue_fingerprint(pa.array([1, 2], pa.int8()))
    assert one == catalogue_fingerprint(pa.chunked_array([pa.array([1]), pa.array([2])]))
    assert one != catalogue_fingerprint(pa.array(["1", "2"]))
    assert len(one) == 64


def test_the_fingerprint_refuses_nulls_and_other_types():
    with pytest.raises(ValueError, match="1 item ids are null"):
        catalogue_fingerprint(pa.array([1, None]))
    with pytest.raises(ValueError, match="not double"):
        catalogue_fingerprint(pa.array([1.0]))


def test_an_unfinished_log_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist: run `python"):
        SearchLog.open(tmp_path / "logs")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "started.json").write_text("{}")
    with pytest.raises(InputError, match="unfinished"):
        SearchLog.open(tmp_path / "logs")


@pytest.mark.parametrize("content", [None, b"", b"PAR1 half"])
def test_a_damaged_table_of_a_checked_log_is_named(prepare, good_rows, content):
    log = prepare(good_rows)
    path = log.folder / "items.parquet"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"items\.parquet cannot be read .* delete the folder .*logs"):
        log.items()


def test_a_run_folder_may_be_named_like_a_pattern(good_rows, written_log, request_for, tmp_path):
    source = written_log(good_rows).rename(tmp_path / "a[1] it's*")
    log = prepare_log(request_for(tmp_path / "run's [2]*", "contract", source))
    assert log.facts["rows"] == len(good_rows)
