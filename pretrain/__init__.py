"""GraphSAGE by link prediction over the query-item-attribute graph: the embeddings psi."""

from typing import TYPE_CHECKING

import configs as configs  # sets how OpenMP threads wait, before anything loads the library
from configs.lazy import lazily

__all__ = ["EmbeddingTable", "make_psi"]

if TYPE_CHECKING:
    from pretrain.embeddings import EmbeddingTable as EmbeddingTable
    from pretrain.pipeline import make_psi as make_psi
else:
    __getattr__ = lazily(
        __name__,
        {
            "make_psi": "pretrain.pipeline",
            "EmbeddingTable": "pretrain.embeddings",
        },
    )
