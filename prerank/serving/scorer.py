"""The scorer: a bundle, and the scores of the requests that it is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.errors import InputError
from prerank.serving.bundle import Bundle
from prerank.serving.explain import Explanation, PopularityCut, explain
from prerank.serving.golden import check_golden
from prerank.serving.hashing import Hashes, Texts
from prerank.serving.items import Catalogue
from prerank.serving.models import Logits, Model, NetworkModel, Popularity
from prerank.serving.network import Threads
from prerank.serving.prepared import Prepared, prepare
from prerank.serving.request import ITEM_ID, Request
from prerank.serving.spec import HEADS, Features

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

UNFIT = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a model made of parts that do not belong together ends in."""


@dataclass(frozen=True)
class Scores:
    """Scores of a request's candidates, in their order.

    Attributes:
        score: the heads' logits, fused: higher is better. [candidates]
        click, order: logits, or None for a model without the head, or where it was not asked for. [candidates]
        rank: logits of being among the ranking model's first k, for each k. [candidates, cutoffs]
        unknown: candidates of which nothing but the id is known: neither the catalogue nor the request has more.
        missing: columns that the request left out, such as ``request.user_id``.
    """

    score: Float32[np.ndarray, " candidates"]
    click: Float32[np.ndarray, " candidates"] | None
    order: Float32[np.ndarray, " candidates"] | None
    rank: Float32[np.ndarray, "candidates cutoffs"] | None
    unknown: Int64[np.ndarray, " unknown"]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Top:
    """The best candidates, best first.

    Attributes:
        item_id: as in the request.
        position: among the candidates.
        score: of each.
        unknown, missing: as of :class:`Scores`, of all candidates.
    """

    item_id: list[Any]
    position: Int64[np.ndarray, " n"]
    score: Float32[np.ndarray, " n"]
    unknown: Int64[np.ndarray, " unknown"]
    missing: tuple[str, ...]


class Scorer:
    """Scores requests with the model of a bundle; safe to call from several threads.

    A candidate's score does not depend on the other candidates, their order, or the number of threads.

    Examples:
        >>> from pathlib import Path
        >>> from prerank import Request, Scorer
        >>> scorer = Scorer.load(Path("runs/notebook/bundles/grace"))
        >>> top = scorer.top(Request({"query": "red shoes"}, {"item_id": [7, 8, 9]}), n=2)
        >>> len(top.item_id), bool(top.score[0] >= top.score[1])
        (2, True)
    """

    def __init__(self, bundle: Bundle, threads: Threads) -> None:
        self.bundle = bundle
        self.features = Features.read(bundle.read("features.json"))
        self.catalogue = Catalogue.open(bundle.path("items.safetensors"))
        self.weights = _weights(bundle)
        heads = self.features.heads
        ranking = [head for head in heads if self.weights[head] != 0] or heads
        self._model = _model(bundle, self.features, self.catalogue, ranking, threads)

    @classmethod
    def load(cls, bundle: Path, threads: int | None = None, verify: bool = True) -> Scorer:
        """Read a bundle.

        Args:
            bundle: its folder.
            threads: that score one request; None: one for each core.
            verify: check each file's SHA-256, and that the golden requests get their scores.

        Raises:
            InputError: naming the file or golden request that is not as it should be.
        """
        opened = Bundle.open(bundle, verify)
        try:
            scorer = cls(opened, Threads(threads))
            if verify:
                check_golden(opened, lambda request: scorer.score(request).score)
        except UNFIT as error:
            raise InputError(
                f"{bundle}: features.json does not fit the bundle's other files ({error!r}): export the bundle again"
            ) from None
        return scorer

    def score(self, request: Request, logits: bool = True) -> Scores:
        """The scores of all candidates.

        Args:
            request: to score.
            logits: whether those of heads that weigh nothing in the score are wanted too: without them it costs less.

        Raises:
            RequestError: naming what cannot be scored.
        """
        prepared, of_heads = self._logits(request, ranking=not logits)
        return Scores(
            fuse(of_heads, self.weights),
            of_heads.click,
            of_heads.order,
            of_heads.rank,
            prepared.new.unknown,
            prepared.missing,
        )

    def top(self, request: Request, n: int) -> Top:
        """The ``n`` best candidates, or all if there are fewer.

        Raises:
            RequestError: naming what cannot be scored.
            ValueError: if ``n`` is below 1.
        """
        prepared, logits = self._logits(request, ranking=True)
        score = fuse(logits, self.weights)
        position = best(score, prepared.item_hash, n)
        ids = _take(request.candidates[ITEM_ID], position)
        return Top(ids, position, score[position], prepared.new.unknown, prepared.missing)

    def explain(self, request: Request, n: int | None = None) -> Explanation:
        """What each of the ``n`` best candidates' scores is made of; of all candidates, where ``n`` is None.

        Raises:
            RequestError, ValueError: as :meth:`top`.
        """
        prepared, logits = self._logits(request, ranking=False)
        score = fuse(logits, self.weights)
        position = best(score, prepared.item_hash, prepared.rows if n is None else n)
        cut = PopularityCut.of(self.bundle.manifest)
        ids = _take(request.candidates[ITEM_ID], position)
        return explain(prepared, logits, score, self.weights, self.catalogue, cut, position, ids)

    def _logits(self, request: Request, ranking: bool) -> tuple[Prepared, Logits]:
        prepared = prepare(request, self.features, self.catalogue)
        return prepared, self._model.logits(prepared, ranking)


def fuse(logits: Logits, weights: dict[str, float]) -> Float32[np.ndarray, " candidates"]:
    """The weighted sum of the logits, as :func:`prerank.evaluation.fusion.fuse` adds them: in float64, one by one."""
    parts = [weights[head] * logit.astype(np.float64) for head, logit in logits.by_head().items()]
    return np.asarray(np.sum(parts, axis=0), np.float32)


def best(score: Float32[np.ndarray, " candidates"], item_hash: Hashes, n: int) -> Int64[np.ndarray, " n"]:
    """Positions of the ``n`` highest scores, highest first; ties by the items' hashes, then by position.

    Args:
        score, item_hash: of the candidates.
        n: at least 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if n < len(score):
        least = np.partition(score, len(score) - n)[len(score) - n]
        near = np.flatnonzero(score >= least)
    else:
        near = np.arange(len(score))
    return near[np.lexsort((item_hash[near], -score[near]))][:n]


def _take(ids: Any, position: Int64[np.ndarray, " n"]) -> list[Any]:
    if isinstance(ids, Texts):
        return [
            ids.content[start : start + length].tobytes().decode()
            for start, length in zip(ids.starts[position].tolist(), ids.lengths[position].tolist(), strict=True)
        ]
    if isinstance(ids, np.ndarray):
        return list(ids[position].tolist())
    return [ids[place] for place in position.tolist()]


def _weights(bundle: Bundle) -> dict[str, float]:
    try:
        said = json.loads(bundle.read("fusion.json"))
        return {head: float(said[head]) for head in HEADS}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{bundle.path('fusion.json')} is damaged ({error!r}): export the bundle again") from None


def _model(bundle: Bundle, features: Features, catalogue: Catalogue, ranking: Sequence[str], threads: Threads) -> Model:
    if bundle.kind == "popularity":
        return Popularity(features, catalogue)
    if bundle.kind == "trees":
        from prerank.serving.trees import Trees  # LightGBM is asked for here only

        return Trees(bundle, features, ranking, threads)
    return NetworkModel(bundle, features, catalogue, ranking, threads)
