"""The audit in words: what the three figures that matter say, and nothing that their intervals do not bear out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graph.figure import Figure
from index.report.figures import NOT_MEASURED
from prerank.pages.numbers import percent

WORDS = {
    "student_infonce": "item network under eq. 10 (InfoNCE)",
    "student_mse": "item network under squared error",
    "student_attributes_only": "attributes only, eq. 10",
    "student_hash_only": "hash id only, eq. 10",
    "attribute_mean": "mean ψ of items sharing attributes",
    "graph_induction": "GraphSAGE's own induction",
    "retrained_psi": "ψ trained twice, items it has seen",
}
"""What the cold start's methods are called in the report."""


@dataclass(frozen=True)
class Finding:
    """One figure that matters.

    Args:
        state: good, mixed or bad; the report shows it as a word and a sign, never as a colour alone.
        headline: the finding in a few words.
        sentence: with its figures.
        title: of the figure.
        figure: the figure itself.
        chance: its chance level.
    """

    state: str
    headline: str
    sentence: str
    title: str
    figure: Figure
    chance: float | None


def findings(audit: dict[str, Any]) -> list[Finding]:
    """Faithfulness to ψ, generalisation to unseen items, and sense of the neighbours that only φ has.

    Args:
        audit: from :func:`index.report.figures.typed`.
    """
    return [_faithfulness(audit), _generalisation(audit), _sense(audit)]


def _faithfulness(audit: dict[str, Any]) -> Finding:
    k, overlaps = audit["neighbours"][0], audit["overlap"]
    figure, chance = overlaps[f"overlap@{k}"], overlaps[f"overlap@{k}_chance"].value
    attributes = overlaps.get(f"overlap@{k}_attributes", NOT_MEASURED)
    gain = overlaps.get(f"overlap@{k}_less_attributes", NOT_MEASURED)
    sentence = (
        f"Of an item's {k} nearest items under ψ, φ keeps {percent(figure.value)}; chance would keep {percent(chance)}"
    )
    if attributes.value is not None:
        sentence += f", and shared attributes alone {percent(attributes.value)}"
    if not figure.above(chance):
        state, headline = "bad", "φ does not follow ψ"
    elif gain.value is None or gain.above(0.0):
        state, headline = "good", "φ follows ψ" + ("" if gain.value is None else " further than attributes alone do")
    else:
        state, headline = "mixed", "φ follows ψ, but no further than attributes alone do"
    return Finding(state, headline, sentence + ".", f"overlap of φ with ψ at {k}", figure, chance)


def _generalisation(audit: dict[str, Any]) -> Finding:
    if not audit.get("cold_start"):
        nothing = Figure.undefined("the cold-start protocol was not run")
        sentence = "The cold-start protocol was not run: nothing says what reaches items that the graph has not seen."
        return Finding("mixed", "Generalisation was not measured", sentence, "overlap on held-out items", nothing, None)
    figures = audit["cold_start"]["figures"]
    k = audit["cold_start"]["neighbours"][0]
    figure, chance = figures[f"student_infonce/overlap@{k}"], figures[f"overlap@{k}_chance"].value
    rivals = ("student_mse", "student_attributes_only", "attribute_mean", "graph_induction", "student_hash_only")
    sides: dict[str, list[str]] = {"better than": [], "level with": [], "worse than": []}
    for rival in rivals:
        gap = figures.get(f"student_infonce_minus_{rival}/overlap@{k}", NOT_MEASURED)
        if gap.value is None:
            continue
        side = "better than" if gap.above(0.0) else "worse than" if gap.below(0.0) else "level with"
        sides[side].append(f"{WORDS[rival]} ({percent(figures[f'{rival}/overlap@{k}'].value)})")
    compared = "; ".join(f"{side} {', '.join(names)}" for side, names in sides.items() if names)
    sentence = (
        f"Items held out of the graph find {percent(figure.value)} of their ψ-neighbours by an item network taught by "
        f"distillation alone with eq. 10; chance would find {percent(chance)}. That is {compared}."
    )
    title = f"overlap on held-out items at {k}"
    if not figure.above(chance):
        return Finding("bad", "Nothing of ψ reaches unseen items", sentence, title, figure, chance)
    if sides["worse than"] or sides["level with"]:
        lost = "something simpler does it better" if sides["worse than"] else "something simpler does it as well"
        return Finding("mixed", f"ψ reaches unseen items, but {lost}", sentence, title, figure, chance)
    return Finding("good", "ψ reaches unseen items, better than by anything simpler", sentence, title, figure, chance)


def _sense(audit: dict[str, Any]) -> Finding:
    k, attribute = audit["neighbours"][0], audit["main_attribute"]
    if attribute is None:
        nothing = Figure.undefined("the items have no attributes")
        sentence = "The items have no categorical attributes, so nothing says whether neighbours belong together."
        return Finding("mixed", "Purity cannot be told", sentence, "purity", nothing, None)
    name, purity = f"{attribute}@{k}", audit["purity"]
    outside = purity["phi_outside_p"][name]
    whose, where = ("phi", "items of P") if outside.value is None else ("phi_outside_p", "items without a ψ")
    figure, chance, reference = purity[whose][name], purity[whose][f"{name}_chance"].value, purity["psi"][name]
    sentence = (
        f"Under φ, {percent(figure.value)} of the neighbours of {where} share their {attribute}; random neighbours: "
        f"{percent(chance)}. Under ψ it is {percent(reference.value)}, for the items it knows."
    )
    good = chance is not None and figure.above(chance)
    headline = f"Neighbours of {where} belong together" if good else f"Neighbours of {where} are as good as random"
    return Finding("good" if good else "bad", headline, sentence, f"{attribute} purity at {k}, {where}", figure, chance)
