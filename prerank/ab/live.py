"""A fitted system in service: it scores candidates as they are recalled, encoded exactly as the log was.

Both paths meet in :func:`prerank.encoding.encode.encode_side` and end in one
:class:`~prerank.encoding.batches.EncodedSplit`, so a row scored live and the same row scored from the log differ by
rounding only.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int32, Int64

from configs.command import config_from
from configs.errors import InputError
from configs.stages import Run, identity_of, read_json, require_inputs
from graph.hashing import hash_values
from graph.marketplace.world.demand import Requests
from graph.marketplace.world.observed import Observed
from graph.marketplace.world.state import Seen
from graph.marketplace.writing import IMPRESSIONS, items_table, queries_table, users_table
from prerank import systems
from prerank.encoding.batches import EncodedItems, EncodedLog, EncodedSplit
from prerank.encoding.columns import KEYS, require_columns
from prerank.encoding.encode import as_array, encode_side
from prerank.encoding.features import counts_by_id
from prerank.encoding.impressions import encode_requests
from prerank.encoding.lookup import Lookup
from prerank.encoding.schema import STAGES
from prerank.evaluation.fusion import FusionWeights, fuse
from prerank.fitting import open_work, system_stage
from prerank.training.contracts import FittedSystem
from prerank.training.scoring import mean_rank_logit

OF_REQUEST = ("request_id", "user_id", "query", "timestamp", "session_id", "history")
OF_PAIR = ("price", "text_match")
KNOWN = pa.schema([IMPRESSIONS.field(name) for name in (*OF_REQUEST, *OF_PAIR)])
"""The impressions' columns that are known before a candidate is ranked."""


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A fitted system of a run as it would be shipped: calling it with a catalogue puts it in service."""

    encoded: EncodedLog
    system: FittedSystem
    weights: FusionWeights

    @classmethod
    def open(cls, run: Run, name: str, encoded: EncodedLog) -> Frozen:
        """Read a fitted system.

        Args:
            run: where it was fitted.
            name: of its folder.
            encoded: the run's encoded log.

        Raises:
            InputError: if it is not fitted, or was fitted on columns or a ψ that have changed since.
        """
        identity_of(run.system(name), f"python -m prerank.fit run={run.root.name} model={name}")
        config = config_from(run.system(name) / "config.yaml")
        refit = f"python -m prerank.fit run={run.root.name} model={config.model.name} name={name}"
        work = open_work(config, run, encoded)
        require_inputs(run.system(name), system_stage(config, run, work).inputs, f"run `{refit} overwrite=true`")
        weights = FusionWeights(**{**read_json(run.system(name) / "fusion.json"), "chosen_by": ()})
        return cls(encoded, systems.find(config.model).load(work), weights)

    def __call__(self, seen: Seen) -> LivePreRanker:
        return LivePreRanker(self, seen)


class LivePreRanker:
    """The second stage of the simulated cascade (:class:`~graph.marketplace.world.observed.PreRanker`), frozen.

    Every item of the catalogue is encoded once, those listed after the log too: they have no training impressions.

    Args:
        frozen: the system.
        seen: the tables of the marketplace.

    Raises:
        InputError: if the system was fitted on columns that are not known before ranking, or on another catalogue.
    """

    def __init__(self, frozen: Frozen, seen: Seen) -> None:
        schema = frozen.encoded.schema
        if any(column.sql for column in schema.columns):
            raise InputError("a system with computed columns (sql:) cannot be replayed: the live cascade has no engine")
        tables = {"items": items_table(seen), "users": users_table(seen), "queries": queries_table(seen)}
        require_columns(
            schema.columns, {"impressions": KNOWN, **{name: table.schema for name, table in tables.items()}}
        )
        self._frozen = frozen
        self._schema = dataclasses.replace(schema, n_items=len(tables["items"]))
        self._items = live_items(frozen.encoded, tables["items"])
        self._lookups = {name: Lookup(tables[name], KEYS[name]) for name in ("users", "queries")}
        self._queries = as_array(tables["queries"]["query"])

    def score(self, observed: Observed) -> Float64[np.ndarray, "r m"]:
        """The fused ranking score of each candidate, higher is better; -inf for padding."""
        there = observed.candidates.items >= 0
        scores = np.full(there.shape, -np.inf)
        if there.any():
            logits = self._frozen.system.predict(self.encode(observed))
            scores[there] = fuse(logits.click, logits.order, mean_rank_logit(logits.rank), self._frozen.weights)
        return scores

    def learn(self, shown: Int32[np.ndarray, " n"], clicked: Int32[np.ndarray, " c"]) -> None:
        """Nothing: it is frozen."""

    def encode(self, observed: Observed) -> EncodedSplit:
        """A wave's candidates as a split, row by row of requests; what came of them is not known."""
        request, column = np.nonzero(observed.candidates.items >= 0)
        item = observed.candidates.items[request, column]
        price = observed.prices[item].astype(np.float32)
        text_match = observed.candidates.overlap[request, column].astype(np.float32)
        pairs = {"price": pa.array(price), "text_match": pa.array(text_match)}
        columns, tally = self._schema.columns, Counter[tuple[str, str]]()
        of_pair = encode_side(columns, "pair", len(item), lambda column: pairs[column.name], tally)
        requests = self._requests(observed.requests, observed.history, observed.seen)
        nothing, unknown = np.zeros(len(item), np.uint8), np.full(len(item), np.nan, np.float32)
        return EncodedSplit(
            schema=self._schema,
            items=self._items,
            item=item,
            request=request.astype(np.int32),
            clicked=nothing,
            ordered=nothing,
            position=unknown,
            stage=np.full(len(item), STAGES.index("recalled"), np.uint8),
            price=price,
            rank_score=unknown,
            list_length=np.zeros(len(requests), np.int32),
            pair_features=of_pair,
            request_features=encode_requests(requests, self._lookups, columns, tally),
            requests=requests,
        )

    def _requests(self, requests: Requests, history: Int32[np.ndarray, "r h"], seen: Seen) -> pa.Table:
        """What the log would say of each request."""
        columns = {
            "request_id": pa.array(requests.request_id),
            "user_id": pa.array(seen.users.user_id[requests.user]),
            "query": self._queries.take(pa.array(requests.query)),
            "timestamp": pa.array(requests.timestamp).cast(KNOWN.field("timestamp").type),
            "session_id": pa.array(requests.session_id),
            "history": id_lists(seen.catalogue.item_id, history),
        }
        return pa.table([columns[name] for name in OF_REQUEST], pa.schema([KNOWN.field(name) for name in OF_REQUEST]))


def live_items(encoded: EncodedLog, items: pa.Table) -> EncodedItems:
    """The item side of a catalogue, encoded with a run's columns; its training counts are taken over by item id.

    Raises:
        InputError: if the run's catalogue is no part of it: the run belongs to another marketplace.
    """
    item_id = as_array(items["item_id"])
    counts, known = counts_by_id(encoded, item_id)
    if known < encoded.schema.n_items:
        raise InputError(
            f"{encoded.folder}: {encoded.schema.n_items - known:,} of the run's {encoded.schema.n_items:,} items are "
            "not in the marketplace that its world and seed give now: the simulator or the world's file has changed "
            "since the log was made; make the run again with `python -m pretrain.run` under another name"
        )
    columns, tally = encoded.schema.columns, Counter[tuple[str, str]]()
    side = encode_side(columns, "item", len(items), lambda column: as_array(items[column.name]), tally)
    return EncodedItems(side, hash_values(item_id), counts, item_id)


def id_lists(item_id: Int64[np.ndarray, " items"], lists: Int32[np.ndarray, "r h"]) -> pa.ListArray:
    """Lists of item numbers, -1 for padding, as lists of item ids."""
    there = lists >= 0
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(item_id[lists[there]]))
