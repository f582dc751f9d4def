"""What an audit reads: ψ, φ and the catalogue of one run, checked to belong together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from configs.command import Invocation, config_from
from configs.console import say
from configs.errors import InputError
from configs.schema import Config
from configs.stages import Run, identity_of, require_current, require_inputs
from graph.logs.log import SearchLog
from index.measures.ann import centred, clip, normalised
from index.measures.catalogue import CatalogueItems, read_catalogue
from index.measures.figures import Bootstrap
from index.measures.suite import Subject
from prerank.encoding.batches import EncodedLog
from prerank.encoding.places import encoding_of
from prerank.fitting import fit_command
from pretrain.embeddings import EmbeddingTable

Rows = Int64[np.ndarray, " rows"]


@dataclass(frozen=True)
class Sources:
    """What the run's earlier stages left.

    Args:
        config: as asked, with the model that the system was fitted with.
        run: its folder.
        log, encoded: the checked log and its features.
        psi, phi: the two embeddings.
        catalogue: the items.
        inputs: identities of the stages that these come from.
    """

    config: Config
    run: Run
    log: SearchLog
    encoded: EncodedLog
    psi: EmbeddingTable
    phi: EmbeddingTable
    catalogue: CatalogueItems
    inputs: dict[str, str]


def open_sources(invocation: Invocation) -> Sources:
    """Open the run's ψ and the φ of ``config.model``.

    Raises:
        InputError: if one of them is missing, damaged, or of another catalogue; it says which command to run.
    """
    run, name = invocation.run, invocation.config.system
    refit = fit_command(invocation.config)
    pretrained = identity_of(run.pretrain, f"python -m pretrain.run run={invocation.config.run}")
    fitted = identity_of(run.system(name), refit)
    if not (run.system(name) / "phi").is_dir():
        raise InputError(f"{name} has no item network, so there is no φ to audit: take model=grace or model=ple")
    folder = encoding_of(run, name)
    encoded = EncodedLog.open(folder)
    inputs = {"pretrain": pretrained, "encoded": encoded.identity}
    require_current(run, [(run.pretrain, f"python -m pretrain.run run={run.root.name}"), (folder, refit)])
    require_inputs(run.system(name), inputs, f"run `{refit} overwrite=true`")
    as_fitted = config_from(run.system(name) / "config.yaml")
    config = replace(invocation.config, model=as_fitted.model, prerank=as_fitted.prerank)
    log = SearchLog.open(run.logs)
    psi, phi = EmbeddingTable.load(run.psi), EmbeddingTable.load(run.system(name) / "phi")
    for table in (psi, phi):
        table.require_catalogue(log.catalogue)
    if encoded.schema.catalogue != log.catalogue:
        raise InputError(f"{folder} belongs to another catalogue than {run.logs}: run `{refit}` again")
    _require_all_of_p(psi, phi, refit)
    catalogue = read_catalogue(log.items(), encoded.training_counts.impressions)
    return Sources(config, run, log, encoded, psi, phi, catalogue, {**inputs, "system": fitted})


def rows_to_audit(sources: Sources) -> tuple[Rows, Rows]:
    """Item index of every row of ψ, and of the items outside P that are asked for their neighbours."""
    row_in_psi = sources.psi.rows_of(sources.catalogue.ids)
    in_p = np.flatnonzero(row_in_psi >= 0)
    items = np.full(len(sources.psi), -1, dtype=np.int64)
    items[row_in_psi[in_p]] = in_p
    if (items < 0).any():
        unknown = sources.psi.ids[int((items < 0).argmax())]
        raise InputError(f"ψ holds item {unknown}, which {sources.run.logs / 'items.parquet'} does not: train ψ again")
    return items, drawn(np.flatnonzero(row_in_psi < 0), sources.config, "items outside P")


def subject_of(sources: Sources, items: Rows, outside: Rows) -> Subject:
    """Both embeddings of P in one order, and what is known of its items.

    Args:
        items: item index of each row of ψ.
        outside: item index of the queries outside P.
    """
    config, catalogue = sources.config, sources.catalogue
    psi, phi = np.asarray(sources.psi.vectors), np.asarray(sources.phi.vectors)
    phi_of_p = phi[sources.phi.rows_of(sources.psi.ids)]
    phi_outside = phi[sources.phi.rows_of(catalogue.ids.take(outside))]
    return Subject(
        psi=normalised(psi),
        phi=normalised(phi_of_p),
        psi_centred=centred(psi),
        phi_centred=centred(phi_of_p),
        outside=normalised(phi_outside),
        queries=drawn(np.arange(len(items)), config, "items of P"),
        attributes={name: codes[items] for name, codes in catalogue.attributes.items()},
        outside_attributes={name: codes[outside] for name, codes in catalogue.attributes.items()},
        impressions=catalogue.impressions[items],
        neighbours=clip(config.index.neighbours, len(items), "P"),
        bootstrap=Bootstrap(config.evaluation.draws, config.evaluation.confidence, config.seed),
    )


def drawn(rows: Rows, config: Config, what: str) -> Rows:
    """At most ``index.queries`` of the rows, ascending."""
    if len(rows) <= config.index.queries:
        return rows
    say(f"{what}: a random {config.index.queries:,} of {len(rows):,} are asked for their neighbours (index.queries)")
    return np.sort(np.random.default_rng(config.seed).permutation(rows)[: config.index.queries])


def _require_all_of_p(psi: EmbeddingTable, phi: EmbeddingTable, refit: str) -> None:
    missing = phi.rows_of(psi.ids) < 0
    if missing.any():
        example = psi.ids[int(missing.argmax())]
        raise InputError(f"φ lacks {int(missing.sum())} of {len(psi)} items of P, e.g. {example}: run `{refit}` again")
