"""Rows of a table by its key, for any number of look-ups: the table is hashed once."""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.hashing import hash_values
from prerank.encoding.encode import as_array

EMPTY = -1


class Lookup:
    """Rows of a table by its key.

    Args:
        table: items, users or queries.
        key: its key column, without repetitions.
    """

    def __init__(self, table: pa.Table, key: str) -> None:
        self.table = table
        self.keys = as_array(table[key])
        self._hashes = hash_values(self.keys)
        self._slots, self._distinct = _hash_table(self._hashes)

    def rows(self, values: pa.Array) -> pa.Int32Array:
        """Row number of each value; null where the table lacks it."""
        asked = values.cast(self.keys.type)
        if not self._distinct or not len(self.keys):  # two keys of one hash, once in 10^6 catalogues of 5 million
            return pc.index_in(asked, value_set=self.keys)
        row = _find(self._slots, self._hashes, hash_values(asked))
        # Another value may have a key's hash.
        same = pc.equal(asked, self.keys.take(pa.array(np.maximum(row, 0))))
        known = pc.fill_null(same, False).to_numpy(zero_copy_only=False)
        return pa.array(row, mask=(row == EMPTY) | ~known)


@numba.njit(nogil=True, cache=True)
def _hash_table(hashes):  # type: ignore[no-untyped-def]
    """Open addressing: the row of each hash in a table at most half full; and whether all hashes differ."""
    size = 2
    while size < 2 * len(hashes):
        size *= 2
    slots = np.full(size, EMPTY, np.int32)
    distinct = True
    for row in range(len(hashes)):
        slot = hashes[row] & (size - 1)
        while slots[slot] != EMPTY:
            distinct &= hashes[slots[slot]] != hashes[row]
            slot = (slot + 1) & (size - 1)
        slots[slot] = row
    return slots, distinct


@numba.njit(nogil=True, cache=True)
def _find(slots, hashes, asked):  # type: ignore[no-untyped-def]
    """The row of each asked hash; ``EMPTY`` where there is none."""
    rows = np.full(len(asked), EMPTY, np.int32)
    for place in range(len(asked)):
        slot = asked[place] & (len(slots) - 1)
        while slots[slot] != EMPTY:
            if hashes[slots[slot]] == asked[place]:
                rows[place] = slots[slot]
                break
            slot = (slot + 1) & (len(slots) - 1)
    return rows
