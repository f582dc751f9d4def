"""PLE and GRACE train: they learn, every option gives finite gradients, a killed run loses and repeats nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from configs.command import parse
from configs.errors import InputError
from configs.schema import Contrast, ConversionSpace, ModelConfig, RankHead
from prerank import systems
from prerank.encoding.batch_loader import BatchLoader
from prerank.encoding.batches import EncodedLog
from prerank.encoding.schema import STAGES
from prerank.evaluation.metrics import auc
from prerank.systems.grace import GRACE
from prerank.systems.ple import PLE
from prerank.training import network_system
from prerank.training.contracts import Work
from prerank.training.network_system import NetworkSystem, fit_network, load_network, validation_objective
from pretrain.embeddings import EmbeddingTable


def psi_of(encoded: EncodedLog, share: float = 0.5, dimension: int = 8) -> EmbeddingTable:
    """A ψ for part of the catalogue that depends on the item's number only."""
    count = int(encoded.schema.n_items * share)
    vectors = np.random.default_rng(0).normal(size=(count, dimension)).astype(np.float32)
    return EmbeddingTable(encoded.item_ids[:count], vectors, encoded.schema.catalogue, "psi")


def work_on(encoded: EncodedLog, folder: Path, *overrides: str, share: float = 0.5) -> Work:
    small = ["model.item.hash_vocabulary=64", "model.buckets=64", "model.dimension=4", "model.experts.hidden=[16]"]
    settings = ["prerank.batch_size=64", "prerank.validations_per_epoch=2", "prerank.threads=1", "data.cutoffs=[3,5]"]
    config = parse([f"runs_folder={folder}", *small, *settings, *overrides]).config
    return Work(config=config, encoded=encoded, psi=psi_of(encoded, share), folder=folder / "system")


@pytest.fixture(scope="session")
def learnable(encoded_log) -> EncodedLog:
    return encoded_log(n_items=60, n_requests=300, rows_per_request=12)


@pytest.mark.parametrize("name", ["ple", "grace"])
def test_a_system_learns(learnable, tmp_path, name):
    work = work_on(learnable, tmp_path, f"model={name}", "prerank.max_epochs=6")
    fitted = systems.find(work.config.model).fit(work)
    split = learnable.split("test")
    rows = np.flatnonzero(split.stage == STAGES.index("exposed"))
    predictions = fitted.predict(split)
    assert auc(split.clicked[rows], predictions.click[rows]) > 0.65
    assert auc(split.ordered[rows], predictions.order[rows]) > 0.6
    if name == "grace":
        top3 = (split.position[rows] <= 3).astype(int)
        assert auc(top3, predictions.rank[rows].mean(axis=1)) > 0.7
    else:
        assert predictions.rank is None
    assert (work.folder / "log" / "curve").exists()
    assert fitted.item_vectors(learnable).shape == (learnable.schema.n_items, 8)


def test_grace_pulls_phi_towards_psi(learnable, tmp_path):
    def mean_cosine(*overrides: str) -> float:
        work = work_on(learnable, tmp_path / "-".join(overrides), *overrides, "prerank.max_epochs=4", share=1.0)
        vectors = systems.find(work.config.model).fit(work).item_vectors(learnable)
        psi = work.psi.vectors - work.psi.vectors.mean(axis=0)
        cosine = (vectors * psi).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(psi, axis=1)
        return float(cosine.mean())

    assert abs(mean_cosine("model=ple")) < 0.2
    assert mean_cosine("model=grace", "model.contrast.weight=1") > 0.5


@pytest.mark.parametrize("head", list(RankHead))
@pytest.mark.parametrize("space", list(ConversionSpace))
@pytest.mark.parametrize("contrast", list(Contrast))
def test_every_option_gives_finite_gradients(learnable, tmp_path, head, space, contrast):
    options = [f"model.rank.head={head.value}", f"model.conversion_space={space.value}"]
    work = work_on(learnable, tmp_path, "model=grace", *options, f"model.contrast.loss={contrast.value}")
    module = GRACE(work)
    module._trainer = _NoTrainer()  # type: ignore[assignment]
    for batch in BatchLoader(learnable.split("validation"), 37):
        terms = module.losses(batch, module(batch))
        torch.stack(list(terms.values())).sum().backward()
        assert ("rank" in terms) == (head is not RankHead.none)
        assert ("contrast" in terms) == (contrast is not Contrast.none)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        values = parameter.grad.coalesce().values() if parameter.grad.is_sparse else parameter.grad
        assert values.isfinite().all(), name


def test_a_batch_of_one_trains(learnable, tmp_path):
    module = GRACE(work_on(learnable, tmp_path, "model=grace"))
    module._trainer = _NoTrainer()  # type: ignore[assignment]
    for row in range(12):
        batch = learnable.split("train").batch(np.array([row]))
        assert torch.stack(list(module.losses(batch, module(batch)).values())).isfinite().all()


def test_the_ordinal_head_cannot_fall_with_k(learnable, tmp_path):
    work = work_on(learnable, tmp_path, "model=grace", "model.rank.head=ordinal")
    rank = GRACE.fit(work).predict(learnable.split("test")).rank
    assert rank.shape[1] == 2
    assert (rank[:, 1] >= rank[:, 0]).all()


def test_every_embedding_table_has_a_sparse_gradient_and_its_own_accumulator(learnable, tmp_path):
    module = PLE(work_on(learnable, tmp_path, "model=ple", "prerank.table_accumulator=0.25"))
    batch = learnable.split("train").batch(np.arange(32))
    module.losses(batch, module(batch))["click"].backward()
    optimizer = module.configure_optimizers()
    tables = [p for p in module.parameters() if p.grad is not None and p.grad.is_sparse]
    assert len(tables) >= 4
    for parameter in module.parameters():
        expected = 0.25 if any(parameter is table for table in tables) else 0.0
        assert optimizer.state[parameter]["sum"].unique().tolist() == [expected]


class _NoTrainer:
    is_last_batch = False


class _KilledError(Exception):
    pass


def _spy(monkeypatch, seen: list[int], kill_after: int | None = None) -> None:
    """Record the rows of every training step; die before a step as a killed process would."""
    original = NetworkSystem.training_step

    def step(self, batch, index):
        if kill_after is not None and len(seen) >= kill_after:
            raise _KilledError
        seen.extend(batch.row.tolist())
        return original(self, batch, index)

    monkeypatch.setattr(NetworkSystem, "training_step", step)


@pytest.mark.parametrize("kill_after_rows", [64 * 7, 64 * 23, 64 * 50])
def test_a_killed_training_resumes_without_repeating_or_skipping_a_row(
    learnable, tmp_path, monkeypatch, kill_after_rows
):
    """2,880 rows are 45 steps of 64; validation and checkpoints after every 22, so a kill loses the steps since."""
    settings = ("model=ple", "prerank.max_epochs=2", "prerank.patience=100")
    whole: list[int] = []
    with monkeypatch.context() as patched:
        _spy(patched, whole)
        work = work_on(learnable, tmp_path / "a", *settings)
        uninterrupted = fit_network(PLE(_seeded(work)), work)
    before: list[int] = []
    killed = work_on(learnable, tmp_path / "b", *settings)
    with monkeypatch.context() as patched:
        _spy(patched, before, kill_after_rows)
        with pytest.raises(_KilledError):
            fit_network(PLE(_seeded(killed)), killed)
    kept = _steps_in_checkpoint(killed.folder) * 64 if (killed.folder / "checkpoints" / "last.ckpt").exists() else 0
    after: list[int] = []
    with monkeypatch.context() as patched:
        _spy(patched, after)
        resumed = fit_network(PLE(_seeded(killed)), killed)
    epoch = learnable.split("train").rows
    kept = min(kept, kept // (64 * 45) * epoch + kept % (64 * 45))
    assert before[:kept] + after == whole
    for start in (0, epoch):
        assert sorted(whole[start : start + epoch]) == list(range(epoch))
    rows = learnable.split("test")
    assert np.allclose(uninterrupted.predict(rows).click, resumed.predict(rows).click, atol=1e-6)


def _seeded(work: Work) -> Work:
    torch.manual_seed(3)
    return work


def _steps_in_checkpoint(folder: Path) -> int:
    return int(torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"])


def test_the_best_validation_is_kept_not_the_last(learnable, tmp_path, monkeypatch):
    """With a learning rate that destroys the model in the second epoch, the weights are those of the first."""
    scores = iter([0.6, 0.9, 0.2, 0.1])
    monkeypatch.setattr(network_system, "validation_objective", lambda _figures: next(scores))
    work = work_on(learnable, tmp_path, "model=ple", "prerank.max_epochs=2")
    fit_network(PLE(_seeded(work)), work)
    best = torch.load(work.folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == 44


def test_the_objective_is_the_mean_of_gaucs_and_falls_back_to_auc():
    figures = {"gauc_click": 0.8, "auc_click": 0.1, "gauc_order": None, "auc_order": 0.6}
    assert validation_objective(figures) == pytest.approx(0.7)
    assert validation_objective({}) is None


def test_without_a_validation_click_the_last_state_is_kept_out_loud(learnable, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(network_system, "validation_objective", lambda _figures: None)
    work = work_on(learnable, tmp_path, "model=ple", "prerank.max_epochs=2", "prerank.patience=1")
    fit_network(PLE(_seeded(work)), work)
    assert torch.load(work.folder / "checkpoints" / "best.ckpt", weights_only=True)["global_step"] == 89
    assert capsys.readouterr().out.count("no validation row is clicked or ordered") == 1


def test_a_checkpoint_of_another_configuration_is_refused(learnable, tmp_path):
    work = work_on(learnable, tmp_path, "model=ple")
    PLE.fit(work)
    other = work_on(learnable, tmp_path, "model=ple", "model.experts.hidden=[24]")
    with pytest.raises(InputError, match=r"another configuration.*size mismatch"):
        load_network(PLE(other), other)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated"])
def test_a_damaged_checkpoint_is_named(learnable, tmp_path, damage):
    work = work_on(learnable, tmp_path, "model=ple", "prerank.max_epochs=1")
    PLE.fit(work)
    path = work.folder / "checkpoints" / "best.ckpt"
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    with pytest.raises(InputError, match=r"best\.ckpt is .*fit"):
        PLE.load(work)


def test_unknown_system_is_refused():
    with pytest.raises(InputError, match=r"prerank/systems/nothing\.py"):
        systems.find(ModelConfig(name="nothing"))
