"""``python -m prerank.export``: a fitted system as one folder that stands alone.

::

    features.json           what it sees: columns, and the look-ups of each side
    tables.safetensors      embedding tables and statistics
    items.safetensors       item sides of the catalogue, counts; item_attributes.parquet, phi.faiss
    network.onnx, .pt2      the score; item.* and request.*: what an item's and a request's look-ups pass through
    click.txt, order.txt    boosted trees, in the place of networks
    fusion.json             weights of the heads' logits
    golden.jsonl            requests of the test split with their scores
    model_card.md
    manifest.json           written last: sizes and SHA-256 of all the others

The folder is made beside its place and renamed: what lies in its place is always whole.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from configs.command import Invocation
from configs.console import say
from configs.errors import InputError
from configs.locks import alone
from configs.schema import ExportTarget
from configs.stages import MANIFEST, beside, fingerprint, package_versions, read_json, settle, write_json
from prerank.encoding.types import type_name
from prerank.evaluation.segments import popularity_cut
from prerank.exporting.features import FORMAT, describe_columns, lengths, schemas_of
from prerank.exporting.golden import TOLERANCE, Predict, loss_of_rounding, write_golden
from prerank.exporting.items import hash_order, write_index, write_items
from prerank.exporting.model_card import model_card
from prerank.exporting.networks import ExportedNetwork
from prerank.exporting.requests import describe_first_items, golden_requests
from prerank.exporting.sources import Source
from prerank.exporting.tables import Arrays
from prerank.exporting.targets import write_target
from prerank.exporting.trees import ExportedPopularity, ExportedTrees
from prerank.serving.bundle import sha256_of
from prerank.systems.lightgbm import BoostedTrees
from prerank.systems.popularity import Popularity
from prerank.training.network_system import FittedNetwork


class Exported(Protocol):
    """A system on its way into a bundle.

    Attributes:
        kind: network, two_towers, trees or popularity.
        items: what is known of every item of the catalogue, in its order: ``vectors``, the item sides, as they are
            stored.
        phi: φ of the catalogue; None for a system without.
    """

    kind: str
    phi: Any

    @property
    def items(self) -> Arrays: ...

    def write(self, folder: Path, /) -> dict[str, Any]:
        """Write its own files; return what ``features.json`` says of them."""

    def stored_predictions(self) -> Predict | None:
        """Scores rows as the bundle does, by the training code; None where nothing is rounded."""


def export_bundle(invocation: Invocation) -> Path:
    """Write the bundle of ``config.model`` of ``config.run``, fitted under ``config.name`` if it has one.

    Returns:
        The bundle's folder, or that of the engine's package that ``export.target`` asks for.

    Raises:
        InputError: if the system is not fitted, another bundle, or something else, has the folder, or the engine cannot
            take such a system.

    Examples:
        >>> from configs import parse
        >>> from prerank import export_bundle
        >>> export_bundle(parse(["run=notebook", "model=grace"])).as_posix()
        'runs/notebook/bundles/grace'
    """
    config = invocation.config
    asked = config.export.folder
    home = invocation.run.bundle(config.system) if asked is None else Path(asked).expanduser()
    source = Source.open(invocation)
    with alone(home):
        settle(home)
        if _is_there(home, source, config.overwrite):
            say(f"{source.name} is exported already: {home}")
        else:
            _write(source, home)
            size = sum(file.stat().st_size for file in home.iterdir())
            say(f"bundle: {home}, {size / 1e6:,.1f} MB; serve it with `python -m prerank.serve bundle={home}`")
        if config.export.target is ExportTarget.bundle:
            return home
        return write_target(source, home, config.export.target)


def _is_there(home: Path, source: Source, overwrite: bool) -> bool:
    """Whether this very bundle is there; another one is only overwritten if the user says so."""
    if overwrite and ((home / MANIFEST).exists() or not home.exists()):
        return False
    if (home / MANIFEST).exists():
        if read_json(home / MANIFEST).get("identity") == _identity(source):
            return True
        raise InputError(
            f"{home} is another bundle: give export.folder=FOLDER to keep both, or overwrite=true to replace it"
        )
    if home.exists() and any(home.iterdir()):
        raise InputError(f"{home} holds other files and is no bundle: give export.folder=FOLDER")
    return False


def _identity(source: Source) -> str:
    figures = sha256_of(source.home / "metrics.json")
    return fingerprint({"format": FORMAT, "system": source.identity, "figures": figures, "tables": source.precision})


def _write(source: Source, home: Path) -> None:
    """Make the bundle beside its place, and let it take its place; after an error nothing is left."""
    folder = beside(home, "next")
    shutil.rmtree(folder, ignore_errors=True)  # of an export that was killed
    folder.mkdir(parents=True)
    try:
        _fill(source, folder)
        settle(home)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(source: Source, folder: Path) -> None:
    exported, schema = _exported(source), source.encoded.schema
    described = exported.write(folder)
    write_items(source, exported.items, folder)
    if exported.phi is not None:
        write_index(exported.phi[hash_order(source)], folder / "phi.faiss")
    schemas = schemas_of(source.log)
    features = {
        "format": FORMAT,
        "system": source.config.model.name,
        "columns": describe_columns(schema.columns, schemas),
        "lengths": lengths(),
        "item_id": {"type": type_name(schemas["items"].field("item_id").type)},
        **described,
        "cutoffs": list(schema.cutoffs),
    }
    write_json(folder / "features.json", features)
    fusion = source.fusion
    write_json(folder / "fusion.json", {"click": fusion.click, "order": fusion.order, "rank": fusion.rank})
    stored, predict, test = exported.stored_predictions(), source.fitted.predict, source.test
    requests = golden_requests(source.log, test, schema.columns)
    if stored is None:  # else the catalogue's vectors are rounded once more than an item's that is described
        describe_first_items(requests, source.items, test, schema.columns)
    write_golden(requests, test, predict, stored, fusion, folder / "golden.jsonl")
    loss = {} if stored is None else loss_of_rounding(test, predict, stored, fusion)
    card = model_card(source, exported.kind, loss, len(requests))
    (folder / "model_card.md").write_text(card, encoding="utf-8")
    write_json(folder / MANIFEST, _manifest(source, exported.kind, loss, len(requests), folder))


def _exported(source: Source) -> Exported:
    match source.fitted:
        case FittedNetwork():
            return ExportedNetwork(source, source.fitted)
        case BoostedTrees():
            return ExportedTrees(source, source.fitted)
        case Popularity():
            return ExportedPopularity(source, source.fitted)
    raise InputError(
        f"model={source.config.model.name}: expected a network, boosted trees or popularity, found "
        f"{type(source.fitted).__name__}, which cannot be exported"
    )


def _manifest(source: Source, kind: str, loss: dict[str, Any], golden: int, folder: Path) -> dict[str, Any]:
    shares = source.config.evaluation
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    return {
        "format": FORMAT,
        "identity": _identity(source),
        "kind": kind,
        "system": source.config.model.name,
        "name": source.name,
        "run": source.config.run,
        "data": source.config.data.name,
        "simulated": bool(source.log.facts.get("simulated", False)),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "tables": {"precision": source.precision.value, "loss": loss},
        "golden": {"requests": golden, "tolerance": TOLERANCE},
        "segments": vars(
            popularity_cut(source.encoded.training_counts.impressions, shares.head_share, shares.tail_share)
        ),
        "versions": package_versions(),
        "files": files,
    }
