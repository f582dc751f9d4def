"""How well φ tells whether an item is in P, the items that ψ covers: docs/results/mechanisms.md, "Why".

    python benchmarks/membership.py runs/laboratory/mechanisms laboratory/grace laboratory/grace_no_generalization

For each CONDITION/SYSTEM of an experiment of ``python -m prerank.mechanisms``: the AUC of a logistic regression on φ,
cross-validated over items, over all items and over those with 2 to 7 training impressions (hardly differing in
popularity), and the mean length of φ in P over that outside; each the mean over markets and its range.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from configs.stages import Run
from prerank.encoding.batches import EncodedLog
from pretrain.embeddings import EmbeddingTable

FEW = (2, 7)
FOLDS = 5


def membership(run: Run, system: str) -> list[float]:
    """AUC over all items, over items with few impressions, and the ratio of lengths, in one market."""
    phi, psi = EmbeddingTable.load(run.system(system) / "phi"), EmbeddingTable.load(run.psi)
    impressions = EncodedLog.open(run.encoded).training_counts.impressions
    vectors, in_p = np.asarray(phi.vectors), psi.rows_of(phi.ids) >= 0
    length = np.linalg.norm(vectors, axis=1)
    vectors = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    aucs = []
    for mask in (np.ones(len(vectors), bool), (impressions >= FEW[0]) & (impressions <= FEW[1])):
        model = LogisticRegression(max_iter=500)
        scores = cross_val_predict(model, vectors[mask], in_p[mask], cv=FOLDS, method="decision_function")
        aucs.append(float(roc_auc_score(in_p[mask], scores)))
    return [*aucs, float(length[in_p].mean() / length[~in_p].mean())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("fits", nargs="+", metavar="CONDITION/SYSTEM")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    for name in arguments.fits:
        condition, system = name.split("/")
        folders = [arguments.folder / condition / f"seed-{seed}" for seed in range(arguments.seeds)]
        statistics = np.array([membership(Run(folder), system) for folder in folders])
        cells = [f"{c.mean():.3f} [{c.min():.3f}…{c.max():.3f}]" for c in statistics.T]
        print(
            f"{name}: AUC all items {cells[0]}, {FEW[0]}-{FEW[1]} impressions {cells[1]}; length {cells[2]}", flush=True
        )


if __name__ == "__main__":
    main()
