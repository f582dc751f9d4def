"""Breaks made from the syntax tree: comparisons and signs turned round, constants moved, conditions negated."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from named import Mutant

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


def operator_mutants(root: Path, file: str, tests: tuple[str, ...]) -> Iterator[Mutant]:
    """Every break that the operators make of a module, as replacements of one line's text."""
    source = (root / file).read_text(encoding="utf-8")
    tree = ast.parse(source)
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in _executed(function):
            for label in _break(node):
                broken = ast.unparse(_restored(label, node))
                yield from _as_mutant(file, source, node, broken, label[0], tests)


def _executed(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """What runs when a function does: neither annotations nor decorators, and functions within it in their own turn."""
    waiting: list[ast.AST] = [*function.args.defaults, *filter(None, function.args.kw_defaults), *function.body]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef):
            continue
        yield node
        skipped = node.annotation if isinstance(node, ast.AnnAssign) else None
        waiting += [child for child in ast.iter_child_nodes(node) if child is not skipped]


def _break(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The node with one thing changed, and what was changed."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        yield "comparison", ast.Compare(node.left, [COMPARISONS[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not _is_type(node):
        yield "operator", ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield "sign", node.operand
    elif isinstance(node, ast.BoolOp):
        yield "and/or", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        yield "constant", ast.Constant((not node.value) if isinstance(node.value, bool) else node.value + 1)
    elif isinstance(node, ast.IfExp):
        yield "condition", ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)


def _restored(label: tuple[str, ast.AST], node: ast.AST) -> ast.AST:
    return ast.fix_missing_locations(ast.copy_location(label[1], node))


def _is_type(node: ast.BinOp) -> bool:
    """``Tensor | None`` is no arithmetic."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    nothing = any(isinstance(part, ast.Constant) and part.value is None for part in ast.walk(node))
    return isinstance(node.op, ast.BitOr) and (nothing or "Tensor" in names)


def _as_mutant(
    file: str, source: str, node: ast.AST, broken: str, label: str, tests: tuple[str, ...]
) -> Iterator[Mutant]:
    """The replacement, wide enough to occur once; nodes over several lines or in a docstring are passed over."""
    first, last = node.lineno, node.end_lineno  # type: ignore[attr-defined]
    if first != last:
        return
    line = source.splitlines()[first - 1]
    raw = line.encode()
    start, end = node.col_offset, node.end_col_offset  # type: ignore[attr-defined]
    new_line = (raw[:start] + f"({broken})".encode() + raw[end:]).decode()
    lines = source.splitlines(keepends=True)
    for before in range(4):
        old = "".join(lines[max(first - 1 - before, 0) : first])
        if source.count(old) == 1:
            new = old[: len(old) - len(lines[first - 1])] + new_line + "\n"
            yield Mutant(f"{file}:{first}:{start} {label}: {line.strip()}", file, old, new, tests)
            return
