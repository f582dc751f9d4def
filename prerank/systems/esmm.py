"""ESMM (Ma et al., SIGIR 2018): conversion learnt over all impressions, through clicks.

Shared embeddings under a perceptron for each task; the order head is P(order | click) and has no loss of its own.
"""

from __future__ import annotations

from torch import Tensor, nn

from configs.console import say
from configs.errors import InputError
from configs.schema import ConversionSpace, ExpertsConfig
from prerank.encoding.batches import Batch
from prerank.losses.feedback import conversion_loss, masked_cross_entropy
from prerank.network.experts import ProgressiveLayeredExtraction
from prerank.network.heads import Outputs
from prerank.network.perceptrons import SeparatePerceptrons, dense_parameters, matched_hidden
from prerank.network.pre_ranking import PreRankingNetwork
from prerank.training.contracts import Work
from prerank.training.network_system import NetworkSystem


def towers(inputs: int, outputs: dict[str, int], config: ExpertsConfig) -> nn.Module:
    """A perceptron for each task, together about as large as a PLE.

    Args:
        inputs: width of the common input.
        outputs: task name → number of logits.
        config: of the PLE; its experts' and towers' layers give the proportions.
    """

    def perceptrons(hidden: list[int]) -> SeparatePerceptrons:
        return SeparatePerceptrons(inputs, outputs, hidden, config.dropout)

    budget = dense_parameters(lambda: ProgressiveLayeredExtraction(inputs, outputs, config))
    proportions = [*config.hidden, *config.tower]
    return perceptrons(
        matched_hidden(proportions, budget, lambda hidden: dense_parameters(lambda: perceptrons(hidden)))
    )


class ESMM(NetworkSystem):
    """The losses of clicks and of clicks followed by an order.

    Args:
        work: of a log with clicks.

    Raises:
        InputError: if the log has no clicks.
    """

    def __init__(self, work: Work) -> None:
        tasks = work.encoded.schema.tasks
        if not tasks["click"]["available"]:
            raise InputError(
                f"model=esmm learns orders through clicks, but {tasks['click']['reason']}: take model=ple, which can "
                "learn from orders alone"
            )
        super().__init__(work)
        if "order" not in self.network.tasks:
            say(f"model=esmm: {tasks['order']['reason']}, so it is its click network alone")

    def make_network(self, work: Work, dimension: int) -> PreRankingNetwork:
        return PreRankingNetwork(work.encoded.schema, work.config.model, dimension, body=towers)

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        r"""Over all impressions whose feedback is known.

        .. math:: L = l(\mathrm{click}, \mathrm{pCTR}) +
            l(\mathrm{click} ∧ \mathrm{order}, \mathrm{pCTR} · \mathrm{pCVR})
        """
        assert outputs.click is not None
        known = batch.has_feedback
        terms = {"click": masked_cross_entropy(outputs.click, batch.clicked, known)}
        if outputs.order is not None:
            both = batch.clicked * batch.ordered
            terms["click_and_order"] = conversion_loss(
                outputs.click, outputs.order, batch.clicked, both, known, ConversionSpace.esmm
            )
        return terms


SYSTEM = ESMM
