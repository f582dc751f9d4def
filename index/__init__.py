"""Nearest-neighbour indexes of psi and phi, what they show about the embeddings, and the reports."""

from typing import TYPE_CHECKING

import configs as configs  # sets how OpenMP threads wait, before anything loads the library
from configs.lazy import lazily

__all__ = ["audit_run", "audit_tables"]

if TYPE_CHECKING:
    from index.audit.auditing import audit_run as audit_run
    from index.audit.auditing import audit_tables as audit_tables
else:
    __getattr__ = lazily(
        __name__,
        {
            "audit_run": "index.audit.auditing",
            "audit_tables": "index.audit.auditing",
        },
    )
