"""Mistakes that someone could make in earnest, and the tests that must notice each.

They are about what the figures rest on: losses, labels, masks, splits, resume, fusion, the bootstrap and its unit. Add
one where a mistake has been made, or could be; ``python tests/mutants WORD`` tries those whose name holds the word.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One break.

    Attributes:
        name: what is wrong.
        file: where.
        old: text that occurs there once.
        new: what it is replaced with.
        tests: files or folders of which one test must fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> None:
        """Break the file below ``root``.

        Raises:
            ValueError: if the text is not there once.
        """
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.name}: expected {self.old!r} once in {self.file}, found {text.count(self.old)} times"
            )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def _of(file: str, tests: str | tuple[str, ...], *breaks: tuple[str, str, str]) -> tuple[Mutant, ...]:
    folder = (tests,) if isinstance(tests, str) else tests
    return tuple(Mutant(name, file, old, new, folder) for name, old, new in breaks)


FEEDBACK = _of(
    "prerank/losses/feedback.py",
    "tests/prerank/losses/test_feedback.py",
    ("feedback: unknown labels are averaged over", "/ mask.sum(dim=0).clamp(min=1)", "/ mask.shape[0]"),
    ("feedback: unknown labels are learnt", "torch.where(mask, losses, 0.0).sum(dim=0)", "losses.sum(dim=0)"),
    ("feedback: an empty mask gives nan", "mask.sum(dim=0).clamp(min=1)", "mask.sum(dim=0)"),
    ("feedback: conversion over clicks learns from all", "mask & (clicked > 0)", "mask"),
    ("feedback: eq. 3's head is multiplied by pCTR", "if space is ConversionSpace.impression else", "if False else"),
)
CONSISTENCY = _of(
    "prerank/losses/consistency.py",
    "tests/prerank/losses/test_consistency.py",
    ("labels: the k-th is no longer in the top k", "position.unsqueeze(1) <= k", "position.unsqueeze(1) < k"),
    ("labels: lists no longer than k teach", "telling & ~position", "~position"),
    ("labels: unknown positions are negatives", "telling & ~position.isnan().unsqueeze(1)", "telling"),
    ("labels: random negatives teach nothing in short lists", " | position.isinf().unsqueeze(1)", ""),
    ("consistency: w_k ignored", "(losses * weights).sum()", "losses.sum()"),
    ("consistency: the mask ignored", "(logits, labels, mask)\n", "(logits, labels, mask | True)\n"),
)
GENERALISATION = _of(
    "prerank/losses/generalisation.py",
    "tests/prerank/losses/test_generalisation.py",
    ("contrast: the temperature of the positive ignored", "log_sum - (phi", "log_sum - (config.temperature * phi"),
    ("contrast: the temperature of the negatives ignored", "phi @ against.T", "config.temperature * phi @ against.T"),
    (
        "contrast: phi is not normalised",
        "phi, psi, others = (F.normalize(vectors, dim=1) for vectors in (phi, psi, others))",
        "psi, others = (F.normalize(vectors, dim=1) for vectors in (psi, others))",
    ),
    ("contrast: the item itself is masked", ".fill_diagonal_(False)", ""),
    (
        "contrast: near items are negatives",
        "psi @ psi.T > config.mask_above",
        "psi @ psi.T > 2",
    ),
    (
        "contrast: items outside P are pulled",
        "own = in_p.nonzero().squeeze(1)",
        "own = torch.ones_like(in_p).nonzero().squeeze(1)",
    ),
    ("contrast: items outside P are no negatives", "else torch.cat([phi, others])", "else phi"),
    ("contrast: nobody in P gives nan", "if not len(own):", "if False:"),
    ("contrast: sum for mean", "losses.sum() if config.reduction is Reduction.sum else losses.mean()", "losses.sum()"),
    (
        "contrast: duplicates are their own negatives",
        '.scatter_reduce_(0, inverse, rows, "amin")',
        '.scatter_reduce_(0, inverse, rows, "amin") * 0 + rows[: len(items)]',
    ),
)
GRACE = _of(
    "prerank/systems/grace.py",
    ("tests/prerank/systems/test_grace.py", "tests/prerank/systems/test_ablations.py"),
    ("grace: lambda_1 ignored", "self.model.rank.weight * ", ""),
    ("grace: lambda_2 ignored", "self.model.contrast.weight * ", ""),
    ("grace: psi is not centred", "vectors - vectors.mean(dim=0)", "vectors"),
    ("grace: the first row of psi is outside P", "in_p = rows >= 0", "in_p = rows > 0"),
    ("grace: w_k are not 1/|K|", "weight / len(cutoffs)", "weight"),
)
MASKS = _of(
    "prerank/encoding/impressions.py",
    "tests/prerank/encoding/test_features.py",
    (
        "masks: random negatives have no position",
        'np.isnan(position) & (codes == STAGES.index("random"))',
        "np.zeros(len(position), bool)",
    ),
    (
        "masks: passed rows count as below every k",
        'np.isnan(position) & (codes == STAGES.index("random"))',
        "np.isnan(position)",
    ),
    (
        "masks: list length counts rows without a position",
        'runs.request[np.isfinite(arrays["position"])]',
        "runs.request",
    ),
)
MASKED_ROWS = _of(
    "prerank/encoding/batches.py",
    ("tests/prerank/encoding/test_batches.py", "tests/prerank/training/test_trainer.py"),
    (
        "masks: ranked rows that nobody saw are no clicks",
        "return (self.stage == EXPOSED) | (self.stage == RANDOM)",
        "return self.stage >= 0",
    ),
)
RESUME = _of(
    "prerank/encoding/batch_loader.py",
    ("tests/prerank/encoding/test_batch_loader.py", "tests/prerank/training/test_trainer.py"),
    ("resume: the epoch starts over", "first, self._first = self._first, 0", "first, self._first = 0, 0"),
    (
        "resume: a batch is skipped",
        'self._handed_out = self._first = state["handed_out"]',
        'self._handed_out = self._first = state["handed_out"] + 1',
    ),
    ("resume: every epoch has one shuffle", "default_rng((self.seed, self.epoch))", "default_rng((self.seed, 0))"),
    ("resume: another batch size goes on", "if saved != self._identity():", "if False:"),
)
SPLITS = _of(
    "graph/logs/split.py",
    ("tests/graph/logs/test_split.py", "tests/graph/logs/test_prepare.py"),
    (
        "splits: test rows train",
        "WHEN number <= {cuts[1]} THEN 'validation' ELSE 'test' END",
        "WHEN number <= {cuts[1]} THEN 'validation' ELSE 'train' END",
    ),
    ("splits: sessions are not in order of time", "ORDER BY min(timestamp), unit", "ORDER BY unit"),
    ("splits: the future leaks into training", "if max(chosen[first]) > min(chosen[second]):", "if False:"),
    ("splits: users' days are cut", "return \"day || ' ' || user_id\"", 'return "CAST(request_id AS VARCHAR)"'),
)
GRAPH_ROWS = _of(
    "graph/building.py",
    "tests/graph/test_building.py",
    ("splits: a later session in the graph is not noticed", "    if shared:\n", "    if False:\n"),
    ("splits: changed training rows are not noticed", 'and used["rows"] != train["rows"]', "and False"),
)
COUNTS = _of(
    "prerank/encoding/features.py",
    "tests/prerank/encoding/test_features.py",
    ("splits: statistics count test rows", 'if name == "train":', "if True:"),
    ("segments: unseen rows are impressions", 'exposed = arrays["stage"] == EXPOSED', 'exposed = arrays["stage"] >= 0'),
    ("splits: number statistics see new items", 'numbers[seen] if side == "item" else numbers', "numbers"),
)
COENGAGEMENT = _of(
    "graph/coengagement.py",
    "tests/graph/test_building.py",
    ("graph: an order is a click as well", "rows.clicked & ~rows.ordered", "rows.clicked"),
    ("graph: weights do not decay", "(age_days / half_life_days)", "(age_days * 0.0)"),
    (
        "graph: a pair weighs as the stronger",
        "ibis.least(left.strength, right.strength)",
        "ibis.greatest(left.strength, right.strength)",
    ),
    (
        "graph: touches repeat clicks",
        "touched.engaged_at.isnull() | (touched.engaged_at >= touched.timestamp)",
        "touched.timestamp.notnull()",
    ),
)
HELD_OUT = _of(
    "pretrain/targets.py",
    "tests/pretrain/test_targets.py",
    (
        "psi: the target's edge carries messages",
        "        _bar_edges(of_item, items, queries)\n",
        "",
    ),
    (
        "psi: held-out pairs are learnt",
        "return pairs.take(~held_out), pairs.take(held_out)",
        "return pairs, pairs.take(held_out)",
    ),
    (
        "psi: edges derived from a target stay",
        "if not targets[left] and not targets[right]:",
        "if True:",
    ),
)
PSI_LOSS = _of(
    "pretrain/objective.py",
    "tests/pretrain/test_objective.py",
    ("psi: popularity is not corrected", "/ temperature - log_q\n", "/ temperature\n"),
    ("psi: known items are negatives", "scores.masked_fill(no_negative, torch.finfo(scores.dtype).min)", "scores"),
    ("psi: the diagonal is masked", "known & ~torch.eye(len(queries), dtype=torch.bool, device=known.device)", "known"),
)
FUSION = _of(
    "prerank/evaluation/fusion.py",
    "tests/prerank/evaluation/test_fusion.py",
    (
        "fusion: rounding chooses",
        "objectives[best] - objective <= paired_standard_error(gaucs[best], gaucs[place])",
        "objectives[best] == objective",
    ),
    (
        "fusion: the largest weights first",
        "key=lambda weights: (weights.order + weights.rank, weights.rank)",
        "key=lambda weights: (-weights.order - weights.rank, weights.rank)",
    ),
    ("fusion: a handful of orders choose", "ENOUGH_ORDER_REQUESTS)) if", "1)) if"),
    (
        "fusion: noise is not paired",
        "difference, share = our.value - their.value,",
        "difference, share = our.value + their.value,",
    ),
    ("fusion: one request is certain", "return np.inf", "return 0.0"),
)
SCORING = _of(
    "prerank/training/scoring.py",
    ("tests/prerank/evaluation/test_fusion.py", "tests/prerank/training"),
    (
        "fusion: weights are chosen on test rows",
        'split = encoded.split("validation")\n    rows =',
        'split = encoded.split("test")\n    rows =',
    ),
    (
        "fusion: weights are chosen on random negatives too",
        'np.flatnonzero(np.asarray(split.stage) == STAGES.index("exposed"))',
        "np.arange(split.rows)",
    ),
)
METRICS = _of(
    "prerank/evaluation/metrics.py",
    "tests/prerank/evaluation/test_metrics.py",
    ("metrics: lists that all pass count in eq. 12", "(length > cut)", "(length > 0)"),
    (
        "metrics: one too many of the ranking model's first",
        "(lists.by_ranking_model.better < k)",
        "(lists.by_ranking_model.better <= k)",
    ),
    ("metrics: ties are won", "below + negatives / 2", "below + negatives"),
    (
        "metrics: requests weigh the same in GAUC",
        "wins / pairs[both], lengths[both].astype(np.float64)",
        "wins / pairs[both], np.ones(both.sum())",
    ),
    (
        "metrics: a tie at the cut passes whole",
        "np.clip((k - self.better) / self.tied, 0.0, 1.0)",
        "(self.better < k) * 1.0",
    ),
)
SEGMENTS = _of(
    "prerank/evaluation/segments.py",
    "tests/prerank/evaluation/test_segments.py",
    ("segments: cold items are tail", "(seen > 0) & (seen <= cut.tail_most)", "seen <= cut.tail_most"),
    ("segments: the cut is inside a tie", "seen >= cut.head_least,", "seen > cut.head_least,"),
    ("segments: outside P is inside P", "(~sources.in_p, ", "(sources.in_p, "),
    ("segments: everybody collides", "sources.bucket_load > 1,", "sources.bucket_load > 0,"),
)
BOOTSTRAP = _of(
    "graph/resampling.py",
    ("tests/graph/test_resampling.py", "tests/prerank/evaluation/test_evaluation.py"),
    ("bootstrap: draws are all the same", "default_rng([self.seed, draw])", "default_rng([self.seed, 0])"),
    ("bootstrap: one cluster is certain", "if self.clusters < 2:", "if False:"),
    (
        "bootstrap: the interval is half as wide",
        "[(1 - confidence) / 2, (1 + confidence) / 2]",
        "[(2 - confidence) / 4, (2 + confidence) / 4]",
    ),
)
UNIT = _of(
    "prerank/evaluation/measures.py",
    "tests/prerank/evaluation/test_evaluation.py",
    ("bootstrap: rows of a user are independent", 'for unit in ("session_id", "user_id"):', "for unit in ():"),
    ("bootstrap: a placeholder user is one person", "and sizes.max() <= DOMINANT_SHARE * len(owner)", ""),
    (
        "metrics: rows that nobody saw count in GAUC",
        "rows, exposed = self.rows, segment & self.rows.exposed",
        "rows, exposed = self.rows, segment",
    ),
)
SIGNIFICANCE = _of(
    "prerank/evaluation/significance.py",
    "tests/prerank/evaluation/test_significance.py",
    ("significance: Holm forgets the step", "(len(tests) - step) * p", "len(tests) * p"),
    (
        "significance: Holm is not monotone",
        "highest = max(highest, min(1.0, (len(tests) - step) * p))",
        "highest = min(1.0, (len(tests) - step) * p)",
    ),
    ("significance: one-sided p", "counted = min(1.0, 2 * (1 + far)", "counted = min(1.0, (1 + far)"),
    ("significance: normal for Student's t", "float(special.stdtrit(count - 1, share))", "float(special.ndtri(share))"),
    ("significance: no power in what is visible", "visible=(reach + power) * error)", "visible=reach * error)"),
    ("significance: markets' error is their deviation", "/ math.sqrt(count)", ""),
)

NAMED = (
    *FEEDBACK, *CONSISTENCY, *GENERALISATION, *GRACE, *MASKS, *MASKED_ROWS, *RESUME, *SPLITS, *GRAPH_ROWS, *COUNTS,
    *COENGAGEMENT, *HELD_OUT, *PSI_LOSS, *FUSION, *SCORING, *METRICS, *SEGMENTS, *BOOTSTRAP, *UNIT, *SIGNIFICANCE,
)  # fmt: skip
