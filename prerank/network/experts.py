r"""Eq. 1 of GRACE, the base model: Progressive Layered Extraction (Tang et al., RecSys 2020).

.. math:: \hat y^{ctr}, \hat y^{cvr} = \mathrm{Sigmoid}(PLE(U, Q, S))

The layers lie in :mod:`graph.neural.experts`, because the marketplace's ranking model has them too. What goes in is in
:mod:`prerank.network.pre_ranking`, what comes out in :mod:`prerank.network.heads`.
"""

from graph.neural.experts import ProgressiveLayeredExtraction

__all__ = ["ProgressiveLayeredExtraction"]
