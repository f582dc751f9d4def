"""A system outside of the package is one module and one YAML file, in the folder that commands are run from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from configs.command import Invocation, parse
from configs.errors import InputError
from configs.stages import read_json
from prerank import systems
from prerank.evaluating import evaluate_system
from prerank.fitting import fit_system
from prerank.tune.space import SPACES, read_space

MODULE = """
from prerank.losses.feedback import masked_cross_entropy
from prerank.training.network_system import NetworkSystem


class ClicksOnly(NetworkSystem):
    def losses(self, batch, outputs):
        return {"click": masked_cross_entropy(outputs.click, batch.clicked, batch.has_feedback)}


SYSTEM = ClicksOnly
"""
MODEL = """
system: my_systems
fixed: [rank.head]
rank: {head: none}
"""


@pytest.fixture
def own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands are run from, with a model of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_systems.py").write_text(MODULE)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "clicks_only.yaml").write_text(MODEL)
    return tmp_path


@pytest.mark.usefixtures("own_model")
def test_it_is_fitted_and_evaluated_as_ours_are(random_run: Callable[..., Invocation]) -> None:
    small = ["model.experts.hidden=[8]", "model.experts.tower=[4]", "prerank.max_epochs=1", "prerank.batch_size=64"]
    invocation = random_run("model=clicks_only", *small, "evaluation.draws=10", "prerank.threads=1")
    folder = fit_system(invocation)
    assert folder.name == "clicks_only"
    figures = read_json(folder / "metrics.json")
    assert figures["test"]["all"]["auc_click"]["value"] is not None
    assert read_json(evaluate_system(invocation)) == figures


@pytest.mark.usefixtures("own_model")
def test_it_is_tuned_by_what_it_reads() -> None:
    assert list(read_space(SPACES, "clicks_only")) == ["prerank.learning_rate", "model.experts.dropout"]
    assert systems.named("clicks_only").__name__ == "ClicksOnly"  # type: ignore[attr-defined]


@pytest.mark.usefixtures("own_model")
def test_what_it_fixes_is_fixed_and_its_name_is_its_files() -> None:
    assert parse(["model=clicks_only"]).config.model.name == "clicks_only"
    with pytest.raises(InputError, match=r"model=clicks_only is fixed to model.rank.head=none, found .*=shared"):
        parse(["model=clicks_only", "model.rank.head=shared"])


def test_a_name_that_is_taken_and_a_module_that_is_no_system_are_refused(own_model: Path) -> None:
    (own_model / "models" / "elsewhere.yaml").write_text("system: nowhere.at_all")
    (own_model / "models" / "no_system.yaml").write_text("system: json")
    for name, reason in (("elsewhere", "nor a module nowhere.at_all"), ("no_system", "json has no SYSTEM")):
        with pytest.raises(InputError, match=reason):
            systems.named(name)
    (own_model / "models" / "ple.yaml").write_text("")
    with pytest.raises(InputError, match="there is a model=ple already"):
        parse(["model=ple"])
