"""The audit in words: what the three figures that matter say, and nothing that their intervals do not bear out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graph.figure import Figure
from index.report.figures import NOT_MEASURED
from prerank.evaluation.claims import MINIMUM_N, too_few
from prerank.pages.numbers import percent

HARDLY, HALF = 0.1, 0.5
"""Shares of the way from chance to ψ's own level: below the first one nothing is there, from the second on it is."""

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
        state: good, mixed, bad or few; the report shows it as a word and a sign, never as a colour alone.
        question: that it answers.
        headline: the finding in a few words.
        sentence: with its figures.
        title: of the figure.
        figure: the figure itself.
        chance: its chance level.
        level: what ψ itself reaches; None where that is not known.
    """

    state: str
    question: str
    headline: str
    sentence: str
    title: str
    figure: Figure
    chance: float | None
    level: float | None = None

    @property
    def way(self) -> float | None:
        """Where the figure stands between chance (0) and ψ's own level (1)."""
        return way_to(self.figure.value, self.chance, self.level)


def way_to(value: float | None, chance: float | None, level: float | None) -> float | None:
    """The share of the way from chance to a level that a value has gone; None where there is no such way."""
    if value is None or chance is None or level is None or level <= chance:
        return None
    return (value - chance) / (level - chance)


def graded(figure: Figure, chance: float | None, level: float | None) -> str:
    """``few`` cases; ``bad``: chance or hardly more; ``mixed``: less than half of the way to ψ; else ``good``."""
    if figure.value is not None and too_few(figure):
        return "few"
    if chance is None or not figure.above(chance):
        return "bad"
    way = way_to(figure.value, chance, level)
    return "mixed" if way is None or HARDLY <= way < HALF else "bad" if way < HARDLY else "good"


def findings(audit: dict[str, Any]) -> list[Finding]:
    """Faithfulness to ψ, generalisation to unseen items, and sense of the neighbours that only φ has.

    Args:
        audit: from :func:`index.report.figures.typed`.
    """
    return [_faithfulness(audit), _generalisation(audit), _sense(audit)]


def _faithfulness(audit: dict[str, Any]) -> Finding:
    question = "Does the item network keep the graph's neighbours?"
    k, overlaps = audit["neighbours"][0], audit["overlap"]
    figure, chance = overlaps[f"overlap@{k}"], overlaps[f"overlap@{k}_chance"].value
    attributes = overlaps.get(f"overlap@{k}_attributes", NOT_MEASURED)
    gain = overlaps.get(f"overlap@{k}_less_attributes", NOT_MEASURED)
    again = _retrained(audit, k)
    sentence = (
        f"Of an item's {k} nearest items under ψ, φ keeps {percent(figure.value)}; chance would keep {percent(chance)}"
    )
    if attributes.value is not None:
        sentence += f", and shared attributes alone {percent(attributes.value)}"
    level, words = (1.0, "ψ itself is") if again.value is None else (again.value, "two trainings of ψ are")
    sentence += _way_in_words(figure, chance, level, words)
    state = graded(figure, chance, level)
    headline = {
        "few": f"Too few items to say whether φ follows ψ: {figure.n}",
        "bad": "φ hardly follows ψ" if figure.above(chance) else "φ does not follow ψ",
        "mixed": "φ follows ψ in part",
        "good": "φ follows ψ" + ("" if gain.value is None else " further than attributes alone do"),
    }[state]
    if state in ("good", "mixed") and gain.value is not None and not gain.above(0.0):
        state, headline = "mixed", "φ follows ψ, but no further than attributes alone do"
    return Finding(state, question, headline, sentence, f"overlap of φ with ψ at {k}", figure, chance, level)


def _generalisation(audit: dict[str, Any]) -> Finding:
    question = "Does it find them for items that the graph has not seen?"
    if not audit.get("cold_start"):
        nothing = Figure.undefined("the cold-start protocol was not run")
        sentence = "The cold-start protocol was not run: nothing says what reaches items that the graph has not seen."
        headline, title = "Generalisation was not measured", "overlap on held-out items"
        return Finding("few", question, headline, sentence, title, nothing, None)
    figures = audit["cold_start"]["figures"]
    k = audit["cold_start"]["neighbours"][0]
    figure, chance = figures[f"student_infonce/overlap@{k}"], figures[f"overlap@{k}_chance"].value
    level = _retrained(audit, k).value
    sides = _rivals(figures, k)
    compared = "; ".join(f"{side} {', '.join(names)}" for side, names in sides.items() if names)
    sentence = (
        f"Items held out of the graph find {percent(figure.value)} of their ψ-neighbours by an item network taught by "
        f"distillation alone with eq. 10; chance would find {percent(chance)}"
    )
    sentence += _way_in_words(figure, chance, level, "ψ trained again, on items that it has seen, is")
    title = f"overlap on held-out items at {k}"
    state = graded(figure, chance, level)
    if state == "few":
        headline = f"Too few held-out items to say what reaches them: {figure.n}"
        return Finding(state, question, headline, sentence, title, figure, chance, level)
    sentence += f" It is {compared}." if compared else ""
    part = " in part" if state == "mixed" and level is not None else ""
    if state == "bad":
        above = chance is not None and figure.above(chance)
        headline = "Hardly anything of ψ reaches unseen items" if above else "Nothing of ψ reaches unseen items"
    elif sides["worse than"] or sides["level with"]:
        lost = "something simpler does it better" if sides["worse than"] else "something simpler does it as well"
        state, headline = "mixed", f"ψ reaches unseen items{part}, but {lost}"
    else:
        headline = f"ψ reaches unseen items{part}, better than by anything simpler"
    return Finding(state, question, headline, sentence, title, figure, chance, level)


def _rivals(figures: dict[str, Figure], k: int) -> dict[str, list[str]]:
    """What is simpler than the item network, by whether the network finds more than it, as much, or less."""
    names = ("student_mse", "student_attributes_only", "attribute_mean", "graph_induction", "student_hash_only")
    sides: dict[str, list[str]] = {"better than": [], "level with": [], "worse than": []}
    for rival in names:
        gap = figures.get(f"student_infonce_minus_{rival}/overlap@{k}", NOT_MEASURED)
        if gap.value is None:
            continue
        side = "better than" if gap.above(0.0) else "worse than" if gap.below(0.0) else "level with"
        sides[side].append(f"{WORDS[rival]} ({percent(figures[f'{rival}/overlap@{k}'].value)})")
    return sides


def _sense(audit: dict[str, Any]) -> Finding:
    question = "Do the neighbours of items without a ψ belong together?"
    k, attribute = audit["neighbours"][0], audit["main_attribute"]
    if attribute is None:
        nothing = Figure.undefined("the items have no attributes")
        sentence = "The items have no categorical attributes, so nothing says whether neighbours belong together."
        return Finding("few", question, "Purity cannot be told", sentence, "purity", nothing, None)
    name, purity = f"{attribute}@{k}", audit["purity"]
    outside = purity["phi_outside_p"][name]
    whose, where = ("phi", "items of P") if outside.value is None else ("phi_outside_p", "items without a ψ")
    figure, chance, level = purity[whose][name], purity[whose][f"{name}_chance"].value, purity["psi"][name].value
    sentence = (
        f"Under φ, {percent(figure.value)} of the neighbours of {where} share their {attribute}; random neighbours: "
        f"{percent(chance)}"
    )
    sentence += _way_in_words(figure, chance, level, "the neighbours under ψ, of the items it knows, are")
    state = graded(figure, chance, level)
    headline = {
        "few": f"Too few {where} to say whether their neighbours belong together: {figure.n}",
        "bad": f"Neighbours of {where} are as good as random",
        "mixed": f"Neighbours of {where} belong together in part",
        "good": f"Neighbours of {where} belong together",
    }[state]
    if state == "bad" and chance is not None and figure.above(chance):
        headline = f"Neighbours of {where} are hardly better than random"
    question = question if whose == "phi_outside_p" else "Do neighbours belong together?"
    return Finding(state, question, headline, sentence, f"{attribute} purity at {k}, {where}", figure, chance, level)


def _retrained(audit: dict[str, Any], k: int) -> Figure:
    """How far two trainings of ψ agree: more than that nothing that is taught by one of them can be asked for."""
    cold_start = audit.get("cold_start") or {"figures": {}}
    figure: Figure = cold_start["figures"].get(f"retrained_psi/overlap@{k}", NOT_MEASURED)
    return figure


def _way_in_words(figure: Figure, chance: float | None, level: float | None, whose: str) -> str:
    """Where the figure stands between chance and ψ's own level, and on how many items; the end of a sentence."""
    if figure.value is None:
        return "."
    few = f", fewer than the {MINIMUM_N} that it takes to say more" if too_few(figure) else ""
    if level is None:
        return f" (n {figure.n:,}{few}). ψ's own level was not measured, so nothing says how much that is."
    way = way_to(figure.value, chance, level)
    far = "" if way is None else f", so this is {100 * way:.0f}\N{NO-BREAK SPACE}% of the way from chance to there"
    return f"; {whose} at {percent(level)}{far} (n {figure.n:,}{few})."
