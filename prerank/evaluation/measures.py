"""The metrics of one split by name: which rows each is measured on, and why one is not defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from configs.errors import InputError
from graph.resampling import RatioOfSums
from prerank.evaluation.bootstrap import SortedScores, Statistic, Undefined
from prerank.evaluation.metrics import (
    RankedLists,
    RequestValues,
    Standing,
    hit_rate_at_k,
    recall_at_k,
    row_log_loss,
    sorted_request_auc,
    standing_among,
)

REQUIRED = ("request", "request_id", "user_id", "query", "item_id", "item", "stage", "position", "clicked", "ordered")
SURVIVORS = 10
"""How many of the ranking model's first items should survive a cut at N."""

DOMINANT_SHARE = 0.5
"""A user id that holds more of the requests than this is a placeholder, not a person."""


@dataclass(frozen=True)
class SplitRows:
    """The predictions of one split as arrays.

    Attributes:
        request: number of the request, 0 to requests - 1.
        cluster: number of the resampled unit of each row, 0 to clusters - 1.
        clusters: how many units there are.
        cluster_unit: ``session_id``, ``user_id`` or ``request``.
        whole: the recalled items of requests that are logged whole: the ranking model's score is known of every one.
        position: 1-based by the ranking model; nan where unknown, inf for a random negative.
        rank_score: the ranking model's; nan where unknown.
        heads: ``click``, ``order``, ``rank`` or ``top{k}`` → that head's output, higher is better.
    """

    request: Int64[np.ndarray, " rows"]
    cluster: Int32[np.ndarray, " rows"]
    clusters: int
    cluster_unit: str
    exposed: Bool[np.ndarray, " rows"]
    random: Bool[np.ndarray, " rows"]
    whole: Bool[np.ndarray, " rows"]
    position: Float32[np.ndarray, " rows"]
    rank_score: Float32[np.ndarray, " rows"]
    clicked: Bool[np.ndarray, " rows"]
    ordered: Bool[np.ndarray, " rows"]
    heads: Mapping[str, Float32[np.ndarray, " rows"]]
    score: Float32[np.ndarray, " rows"]

    @property
    def requests(self) -> int:
        return int(self.request.max()) + 1 if self.request.size else 0

    @cached_property
    def cluster_of_request(self) -> Int32[np.ndarray, " requests"]:
        owners = np.zeros(self.requests, dtype=np.int32)
        owners[self.request] = self.cluster
        return owners


def split_rows(predictions: pa.Table) -> SplitRows:
    """Turn the predictions of one split into arrays.

    Raises:
        InputError: if a column is missing, or a score or probability is null or not finite in some rows.
    """
    missing = [name for name in (*REQUIRED, "score") if name not in predictions.column_names]
    if missing:
        raise InputError(f"predictions: expected the columns {', '.join(REQUIRED)}, score; missing: {missing}")
    _, request = np.unique(predictions["request"].to_numpy(), return_inverse=True)
    stage = predictions["stage"].cast(pa.string())
    position = _floats(predictions["position"])
    later = pc.is_in(stage, value_set=pa.array(["passed", "recalled"])).to_numpy()
    random = pc.equal(stage, "random").to_numpy()
    if "rank_score" in predictions.column_names:
        rank_score = _floats(predictions["rank_score"])
    else:
        rank_score = np.full(len(position), np.nan, np.float32)
    unit, cluster = _clusters(predictions, request)
    names = {"click": "p_click", "order": "p_order", "rank": "p_rank"}
    names |= {name.removeprefix("p_"): name for name in predictions.column_names if name.startswith("p_top")}
    heads = {head: _head(predictions, column) for head, column in names.items()}
    score = _head(predictions, "score")
    if score is None:
        raise InputError("predictions: the column score is null in every row; expected a finite ranking score")
    return SplitRows(
        request=request.astype(np.int64),
        cluster=cluster,
        clusters=int(cluster.max()) + 1 if cluster.size else 0,
        cluster_unit=unit,
        exposed=pc.equal(stage, "exposed").to_numpy(),
        random=random,
        whole=_logged_whole(request, ~random, later, np.isfinite(rank_score)),
        position=position,
        rank_score=rank_score,
        clicked=predictions["clicked"].to_numpy().astype(bool),
        ordered=predictions["ordered"].to_numpy().astype(bool),
        heads={head: values for head, values in heads.items() if values is not None},
        score=score,
    )


class SplitMeasures:
    """Every metric of one split, for any segment of its rows.

    Sorting is done once for the split; a segment only selects from the sorted rows.

    Args:
        rows: the split.
        tasks_off: task (click, order, rank) → why the log cannot have it.
        cutoffs: K of eq. 6.
        recall_at: k of Recall@k and of the hit rate.
    """

    def __init__(
        self, rows: SplitRows, tasks_off: Mapping[str, str], cutoffs: Sequence[int], recall_at: Sequence[int]
    ) -> None:
        self.rows, self.tasks_off, self.cutoffs = rows, tasks_off, cutoffs
        self._sorted: dict[str, SortedScores] = {}
        self._firsts: dict[tuple[bool, int], tuple[Int64[np.ndarray, " first_rows"], RankedLists]] = {}
        self._log_losses: dict[str, Float64[np.ndarray, " rows"]] = {}
        self._by_request = np.lexsort((rows.score, rows.request))
        self.ranked = np.isfinite(rows.position)
        self.lists = RankedLists.of(self.ranked, rows.request, -rows.position, rows.score)
        self.by_score = self.lists.by_score
        self.whole_lists = RankedLists.of(rows.whole, rows.request, rows.rank_score, rows.score)
        self.candidates = ~rows.random
        self.among_candidates = standing_among(self.candidates, rows.request, rows.score)
        longest = int(self.among_candidates.length.max(initial=0))
        self.longest_ranked = int(self.by_score.length.max(initial=0))
        self.recall_at = [k for k in recall_at if k < max(longest, self.longest_ranked)]
        self.recall_left_out = [k for k in recall_at if k not in self.recall_at]

    def statistics(self, segment: Bool[np.ndarray, " rows"]) -> dict[str, Statistic]:
        """Every metric on the segment's rows; one that is not defined says why."""
        statistics = self._task_aucs(segment)
        for task, label in (("click", self.rows.clicked), ("order", self.rows.ordered)):
            for name, statistic in self._score_metrics(task, label, segment).items():
                statistics[name] = Undefined(self.tasks_off[task]) if task in self.tasks_off else statistic
        statistics |= self._recalls(segment)
        for k in self.recall_at:
            statistics[f"hit_rate_order_at_{k}"] = self._hit_rate(k, segment)
        return statistics

    def _task_aucs(self, segment: Bool[np.ndarray, " rows"]) -> dict[str, Statistic]:
        """Each head against its own labels, on exposed (ranked) rows and again with the random negatives."""
        rows = self.rows
        aucs: dict[str, Statistic] = {}
        tasks = [("click", "click", rows.clicked, rows.exposed), ("order", "order", rows.ordered, rows.exposed)]
        for k in self.cutoffs:
            head = f"top{k}" if f"top{k}" in rows.heads else "rank"
            tellable = self.ranked & (self.by_score.length > k)
            tasks.append((f"top{k}", head, rows.position <= k, tellable))
        for name, head, label, measured in tasks:
            task = "rank" if name.startswith("top") else name
            if task in self.tasks_off or head not in rows.heads:
                reason = self.tasks_off.get(task, f"the system has no {task} head")
                aucs[f"auc_{name}"] = Undefined(reason)
                continue
            if not measured.any():
                nothing = "no row was exposed" if task != "rank" else f"no ranked list has more than {name[3:]} items"
                aucs[f"auc_{name}"] = Undefined(nothing)
                continue
            aucs[f"auc_{name}"] = self._pooled(head, label, segment & measured)
            if rows.random.any():
                aucs[f"auc_{name}_with_random"] = self._pooled(head, label, segment & (measured | rows.random))
        return aucs

    def _score_metrics(
        self, task: str, label: Bool[np.ndarray, " rows"], segment: Bool[np.ndarray, " rows"]
    ) -> dict[str, Statistic]:
        """The fused score on exposed rows, pooled and within requests; the head's log loss."""
        rows, exposed = self.rows, segment & self.rows.exposed
        score, request = self._within_requests
        chosen = exposed[self._by_request]
        within = sorted_request_auc(label[self._by_request][chosen], score[chosen], request[chosen])
        metrics: dict[str, Statistic] = {
            f"score_auc_{task}": self._pooled("score", label, exposed),
            f"gauc_{task}": self._mean(within, "no request has both classes"),
        }
        if task not in rows.heads:
            metrics[f"log_loss_{task}"] = Undefined(f"the system has no {task} head")
        else:
            metrics[f"log_loss_{task}"] = self._mean_of_rows(self._log_loss(task, label), exposed)
        return metrics

    @cached_property
    def _within_requests(self) -> tuple[Float32[np.ndarray, " rows"], Int64[np.ndarray, " rows"]]:
        """Score and request of the rows in order of request and score."""
        return self.rows.score[self._by_request], self.rows.request[self._by_request]

    def _log_loss(self, task: str, label: Bool[np.ndarray, " rows"]) -> Float64[np.ndarray, " rows"]:
        if task not in self._log_losses:
            self._log_losses[task] = row_log_loss(label, self.rows.heads[task])
        return self._log_losses[task]

    def _recalls(self, segment: Bool[np.ndarray, " rows"]) -> dict[str, Statistic]:
        """The ranking model's first items that belong to the segment, among the pre-ranker's first of the same list.

        On the ranked lists, and on whole recalled sets where the log has any.
        """
        recalls: dict[str, Statistic] = {}
        for infix, lists in (("", self.lists), ("full_", self.whole_lists)):
            if infix and not self.rows.whole.any():
                continue
            for k in self.recall_at:
                recalls |= self._kept(f"recall_{infix}at_{k}", k, k, segment, lists)
                if k > SURVIVORS:
                    recalls |= self._kept(f"top{SURVIVORS}_survival_{infix}at_{k}", SURVIVORS, k, segment, lists)
        return recalls

    def _kept(
        self, name: str, first: int, cut: int, segment: Bool[np.ndarray, " rows"], lists: RankedLists
    ) -> dict[str, Statistic]:
        if "rank" in self.tasks_off:
            off = Undefined(self.tasks_off["rank"])
            return {name: off, f"{name}_chance": off}
        rows, first_rows = self._first_rows(lists, first)
        recall, chance = recall_at_k(self.rows.request[rows], first_rows, first, cut, segment[rows])
        reason = f"no list of more than {cut} items has one of the ranking model's top {first} in the segment"
        return {name: self._mean(recall, reason), f"{name}_chance": self._mean(chance, reason)}

    def _first_rows(self, lists: RankedLists, first: int) -> tuple[Int64[np.ndarray, " first_rows"], RankedLists]:
        """The ranking model's first items of every list: the rows that a recall counts, and how they stand."""
        key = (lists is self.whole_lists, first)
        if key not in self._firsts:
            rows = np.flatnonzero(lists.rows & (lists.by_ranking_model.better < first))
            of_rows = [
                Standing(by.better[rows], by.tied[rows], by.length[rows])
                for by in (lists.by_ranking_model, lists.by_score)
            ]
            self._firsts[key] = rows, RankedLists(np.ones(len(rows), np.bool_), *of_rows)
        return self._firsts[key]

    def _hit_rate(self, k: int, segment: Bool[np.ndarray, " rows"]) -> Statistic:
        if "order" in self.tasks_off:
            return Undefined(self.tasks_off["order"])
        ordered = segment & self.rows.ordered & self.candidates
        hits = hit_rate_at_k(self.rows.request, self.among_candidates, ordered, k)
        return self._mean(hits, f"no list of more than {k} items has an ordered item in the segment")

    def _pooled(self, head: str, label: Bool[np.ndarray, " rows"], selected: Bool[np.ndarray, " rows"]) -> Statistic:
        if head not in self._sorted:
            values = self.rows.score if head == "score" else self.rows.heads[head]
            self._sorted[head] = SortedScores(values, self.rows.cluster, self.rows.clusters)
        return self._sorted[head].auc(label, selected)

    def _mean(self, values: RequestValues, reason: str) -> Statistic:
        if not values.request.size:
            return Undefined(reason)
        owners = self.rows.cluster_of_request[values.request]
        return self._ratio(owners, values.value * values.weight, values.weight, len(values.request))

    def _mean_of_rows(self, values: Float64[np.ndarray, " rows"], selected: Bool[np.ndarray, " rows"]) -> Statistic:
        chosen = values[selected]
        if not chosen.size:
            return Undefined("no rows")
        return self._ratio(self.rows.cluster[selected], chosen, np.ones(len(chosen)), len(chosen))

    def _ratio(
        self,
        owners: Int32[np.ndarray, " cases"],
        numerator: Float64[np.ndarray, " cases"],
        denominator: Float64[np.ndarray, " cases"],
        n: int,
    ) -> RatioOfSums:
        clusters = self.rows.clusters
        return RatioOfSums(
            np.bincount(owners, weights=numerator, minlength=clusters),
            np.bincount(owners, weights=denominator, minlength=clusters),
            n,
        )


def _logged_whole(
    request: Int64[np.ndarray, " rows"],
    recalled: Bool[np.ndarray, " rows"],
    later: Bool[np.ndarray, " rows"],
    scored: Bool[np.ndarray, " rows"],
) -> Bool[np.ndarray, " rows"]:
    """Recalled rows of the requests in which the ranking model scored every recalled row, not only those it ranked."""
    requests = int(request.max()) + 1 if request.size else 0
    complete = np.bincount(request[recalled & ~scored], minlength=requests) == 0
    complete &= np.bincount(request[later], minlength=requests) > 0
    whole: Bool[np.ndarray, " rows"] = recalled & complete[request]
    return whole


def _clusters(predictions: pa.Table, request: Int64[np.ndarray, " rows"]) -> tuple[str, Int32[np.ndarray, " rows"]]:
    """The unit that is resampled: the session, else the user, else the request; a null id stands for its request.

    An id that never repeats groups nothing, and one that owns most requests is a placeholder: both are passed over.
    """
    if not len(request):
        return "request", request.astype(np.int32)
    for unit in ("session_id", "user_id"):
        if unit not in predictions.column_names or predictions[unit].null_count == len(predictions):
            continue
        codes = predictions[unit].combine_chunks().dictionary_encode().indices
        known = codes.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        _, cluster = np.unique(np.where(known < 0, -1 - request, known), return_inverse=True)
        owner = np.zeros(int(request.max()) + 1, dtype=np.int64)
        owner[request] = cluster
        sizes = np.bincount(owner)
        if sizes.max() > 1 and sizes.max() <= DOMINANT_SHARE * len(owner):
            return unit, cluster.astype(np.int32)
    return "request", request.astype(np.int32)


def _head(predictions: pa.Table, name: str) -> Float32[np.ndarray, " rows"] | None:
    """A head's column, or None where the system has no such head."""
    if name not in predictions.column_names or (len(predictions) and predictions[name].null_count == len(predictions)):
        return None
    values = _floats(predictions[name])
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        where = predictions["request_id"][int(bad[0])].as_py(), predictions["item_id"][int(bad[0])].as_py()
        raise InputError(
            f"predictions, column {name}: expected finite numbers, found {bad.size} of {len(values)} that are null or "
            f"not finite, the first for request_id {where[0]!r}, item_id {where[1]!r}: the fit has diverged; "
            "lower prerank.learning_rate and fit again"
        )
    return values


def _floats(column: pa.ChunkedArray) -> Float32[np.ndarray, " rows"]:
    """Null becomes nan."""
    return np.asarray(column.cast(pa.float32()).fill_null(np.nan).to_numpy())
