"""Item networks trained towards ψ alone: what φ can know of an item that the graph has never seen.

A student is the network of ``prerank.network.item_network`` without the pre-ranker around it. It learns by
distillation, no click ever reaches it. So it answers how well hash id and attributes carry ψ over to new items under a
given loss, and costs seconds where refitting GRACE costs minutes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64

from configs.console import progress
from configs.schema import Config, Contrast
from prerank.encoding.batches import EncodedLog
from prerank.encoding.schema import SideSchema
from prerank.losses.generalisation import contrastive_loss
from prerank.network.item_network import ItemNetwork

STEPS = 600
BATCH = 512
"""Items a step; each is a negative of all the others, so the cost of a step grows with the square."""
STEPS_PER_VALIDATION = 25
PATIENCE = 4
"""Validations without a better one before a student stops."""
VALIDATION_SHARE = 0.1
ITEMS_AT_ONCE = 8192


@dataclass(frozen=True)
class Student:
    """What a student sees and which loss teaches it.

    Args:
        name: of its row in the report.
        loss: ``phi_phi`` is eq. 10, ``mse`` the control without negatives.
        hash_id: whether it sees the hashed item id.
        attributes: whether it sees the item's attributes.
    """

    name: str
    loss: Contrast
    hash_id: bool = True
    attributes: bool = True


STUDENTS = (
    Student("student_infonce", Contrast.phi_phi),
    Student("student_mse", Contrast.mse),
    Student("student_attributes_only", Contrast.phi_phi, hash_id=False),
    Student("student_hash_only", Contrast.phi_phi, attributes=False),
)


def train_student(
    student: Student,
    encoded: EncodedLog,
    config: Config,
    taught: Int64[np.ndarray, " taught"],
    targets: Float32[np.ndarray, "taught dimension"],
) -> ItemNetwork:
    """Fit an item network to ψ, stopped where the cosine to ψ on taught items left aside is best.

    Args:
        student: inputs and loss.
        encoded: the item features.
        config: item network, temperature and learning rate, as for the pre-ranker.
        taught: item indices that have a target.
        targets: ψ of these items, mean-centred.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.prerank.threads)
    generator = np.random.default_rng(config.seed)
    order = generator.permutation(len(taught))
    aside, learnt = np.split(order, [max(1, int(VALIDATION_SHARE * len(taught)))])
    network = _network(student, encoded, config, targets.shape[1])
    optimizer = torch.optim.Adagrad(network.parameters(), lr=config.prerank.learning_rate)
    contrast = replace(config.model.contrast, loss=student.loss)
    best, best_weights, waited = -np.inf, network.state_dict(), 0
    with progress() as bar:
        task = bar.add_task(f"training {student.name}", total=STEPS)
        for step, rows in enumerate(_batches(learnt, BATCH, generator)):
            phi = _forward(network, encoded, taught[rows])
            psi = torch.from_numpy(targets[rows])
            loss = contrastive_loss(phi, psi, torch.ones(len(rows), dtype=torch.bool), contrast)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            # Said aloud, or torch warns of its own default at every first sparse step.
            with torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]
                optimizer.step()
            bar.update(task, advance=1)
            if (step + 1) % STEPS_PER_VALIDATION:
                continue
            cosine = _mean_cosine(network, encoded, taught[aside], targets[aside])
            if cosine > best:
                best, best_weights, waited = cosine, copy.deepcopy(network.state_dict()), 0
            else:
                waited += 1
            if waited == PATIENCE:
                break
    network.load_state_dict(best_weights)
    return network


@torch.inference_mode()
def item_vectors(
    network: ItemNetwork, encoded: EncodedLog, items: Int64[np.ndarray, " items"]
) -> Float32[np.ndarray, "items dimension"]:
    """φ of these items, un-normalised."""
    parts = np.split(items, range(ITEMS_AT_ONCE, len(items), ITEMS_AT_ONCE))
    vectors: Float32[np.ndarray, "items dimension"] = np.concatenate(
        [_forward(network, encoded, part).numpy() for part in parts]
    )
    return vectors


def _network(student: Student, encoded: EncodedLog, config: Config, dimension: int) -> ItemNetwork:
    sides = encoded.schema.sides["item"]
    seen = sides if student.attributes else SideSchema()
    settings = replace(config.model.item, use_hash_id=student.hash_id)
    return ItemNetwork(seen, settings, config.model.buckets, config.model.dimension, dimension)


def _batches(rows: Int64[np.ndarray, " rows"], size: int, generator: np.random.Generator) -> list[np.ndarray]:
    """``STEPS`` batches of distinct rows: as many shuffled epochs as that takes."""
    parts: list[np.ndarray] = []
    while len(parts) < STEPS:
        shuffled = generator.permutation(rows)
        parts += np.split(shuffled, range(size, len(shuffled), size))
    return parts[:STEPS]


def _forward(network: ItemNetwork, encoded: EncodedLog, items: Int64[np.ndarray, " items"]) -> torch.Tensor:
    item_hash, features = encoded.item_features(items)
    phi: torch.Tensor = network(item_hash, features)
    return phi


def _mean_cosine(
    network: ItemNetwork, encoded: EncodedLog, items: Int64[np.ndarray, " items"], targets: np.ndarray
) -> float:
    vectors = torch.from_numpy(item_vectors(network, encoded, items))
    return float(F.cosine_similarity(vectors, torch.from_numpy(targets)).mean())
