"""Vespa's rules, as far as our packages use them: the grammar of schemas, and ranking expressions over tensors.

The schema is read after config-model's SchemaParser.jj (tokens, production rules) and Schema.java (reserved names), a
tensor type after TensorType.fromSpec, an ONNX binding after onnx_wrapper.cpp. What these do not know is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime

IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
RESERVED = {
    *("index", "index_url", "summary", "attribute", "select_input", "host", "documentid", "position", "split_foreach"),
    *("tokenize", "if", "else", "switch", "case", "sddocname", "relevancy"),
}
SINGLE = r"string|int|long|bool|byte|float|double|raw"
DIMENSION = rf"{IDENTIFIER}(?:\{{\}}|\[[1-9][0-9]*\])"
TENSOR = rf"tensor(?:<(?:float|double|int8|bfloat16)>)?\((?:{DIMENSION}(?:,{DIMENSION})*)?\)"
NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
"""As <DOUBLE> and <INTEGER> are: no exponent."""
ARRAY = rf"[\[\],\s]|{NUMBER}"
Block = list[tuple[str, "Block | None"]]


@dataclass
class Tensor:
    """A dense tensor, or one for each label of a mapped dimension.

    Attributes:
        names: indexed dimensions, in alphabetical order.
        mapped: name of the mapped dimension, if there is one.
        cells: label (None without a mapped dimension) → values.
    """

    names: tuple[str, ...]
    mapped: str | None
    cells: dict[str | None, np.ndarray]

    @property
    def dense(self) -> np.ndarray:
        assert self.mapped is None
        return self.cells[None]


@dataclass
class Schema:
    """What a schema says.

    Attributes:
        fields: name → type.
        indexing: field → what its value becomes.
        inputs, constants: name → type and default or value; a number's type is empty.
        model: ``file``, and ``inputs`` and ``outputs``: name in the model → source or name.
        functions: name → expression.
        phases: first-phase and second-phase → expression.
    """

    fields: dict[str, str] = field(default_factory=dict)
    indexing: dict[str, list[str]] = field(default_factory=dict)
    fieldset: list[str] = field(default_factory=list)
    inputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    constants: dict[str, tuple[str, str]] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    phases: dict[str, str] = field(default_factory=dict)


def parse_schema(text: str) -> Schema:
    """Read a schema.

    Raises:
        ValueError: where it does not follow the grammar.
    """
    schema = Schema()
    (header, body), *rest = _blocks(text)
    name = _match(rf"schema ({IDENTIFIER})", header)[0]
    if rest or body is None:
        raise ValueError("expected one schema")
    for header, block in body:
        if header.startswith("document"):
            _match(rf"document {name}", header)
            for line, content in block or []:
                _field(line, content, schema)
        elif header.startswith("fieldset"):
            _match(rf"fieldset {IDENTIFIER}", header)
            ((line, _),) = block or []
            schema.fieldset = _match(rf"fields: ({IDENTIFIER}(?:, {IDENTIFIER})*)", line)[0].split(", ")
        else:
            _match(rf"rank-profile {IDENTIFIER}(?:-{IDENTIFIER})*", header)
            for line, content in block or []:
                _profile_item(line, content, schema)
    return schema


def _blocks(text: str) -> Block:
    """Lines, each with its block where it opens one."""
    stack: list[Block] = [[]]
    for line in filter(None, map(str.strip, text.split("\n"))):
        if line == "}":
            stack.pop()
        elif line.endswith(" {"):
            opened: Block = []
            stack[-1].append((line[:-2], opened))
            stack.append(opened)
        else:
            stack[-1].append((line, None))
    if len(stack) != 1:
        raise ValueError("braces do not match")
    return stack[0]


def _match(pattern: str, text: str) -> tuple[str, ...]:
    matched = re.fullmatch(pattern, text)
    if matched is None:
        raise ValueError(f"expected {pattern}, found {text!r}")
    return matched.groups()


def _field(header: str, body: Block | None, schema: Schema) -> None:
    name, type_ = _match(rf"field ({IDENTIFIER}) type ({TENSOR}|array<(?:{SINGLE})>|{SINGLE})", header)
    if name.lower() in RESERVED or name in schema.fields:
        raise ValueError(f"field name {name}")
    schema.fields[name] = type_
    for line, block in body or []:
        if block is None:
            key, value = _match(r"(indexing|attribute|index): (.+)", line)
            if key == "indexing":
                schema.indexing[name] = value.split(" | ")
                if not set(schema.indexing[name]) <= {"attribute", "index", "summary"}:
                    raise ValueError(line)
            else:
                _match({"attribute": "fast-search", "index": "enable-bm25"}[key], value)
        elif line == "attribute":
            (setting,) = block
            _match(r"distance-metric: (?:dotproduct|angular|euclidean|prenormalized-angular)", setting[0])
        else:
            _match("index", line)
            ((inner, settings),) = block
            _match("hnsw", inner)
            for setting, _ in settings or []:
                _match(r"(?:max-links-per-node|neighbors-to-explore-at-insert): [0-9]+", setting)
    _check_indexing(name, type_, schema.indexing.get(name, []))


def _check_indexing(name: str, type_: str, indexing: list[str]) -> None:
    """An index is of text, or HNSW of a tensor of one indexed dimension; an attribute is not of raw or array<bool>."""
    if (
        "index" in indexing
        and type_ != "string"
        and not re.fullmatch(rf"tensor<float>\({IDENTIFIER}\[[0-9]+\]\)", type_)
    ):
        raise ValueError(f"field {name} of type {type_} has an index")
    if "attribute" in indexing and type_ in ("raw", "array<raw>", "array<bool>"):
        raise ValueError(f"field {name} of type {type_} is an attribute")


def _profile_item(header: str, block: Block | None, schema: Schema) -> None:
    lines = [line for line, inner in block or [] if inner is None]
    if header == "inputs":
        for line in lines:
            name, type_, default = _match(rf"query\(({IDENTIFIER})\) ({TENSOR})(?:: ((?:{ARRAY})+))?", line)
            schema.inputs[name] = (type_, default or "")
    elif header == "constants":
        for line in lines:
            name, type_, value = _match(rf"({IDENTIFIER})(?: ({TENSOR}))?: ((?:{ARRAY})+)", line)
            schema.constants[name] = (type_ or "", value)
    elif header.startswith("onnx-model"):
        _match(rf"onnx-model {IDENTIFIER}", header)
        schema.model = {"name": header.split()[1], "inputs": {}, "outputs": {}}
        for line in lines:
            if line.startswith("file"):
                schema.model["file"] = _match(r"file: ([A-Za-z_][A-Za-z0-9_\-/.]+)", line)[0]
            else:
                way, name, end = _match(
                    rf'(input|output) "([^"]*)": ((?:query|attribute|constant)\({IDENTIFIER}\)|{IDENTIFIER})', line
                )
                schema.model[f"{way}s"][name] = end
    elif header.startswith("function"):
        (name,) = _match(rf"function ({IDENTIFIER})\(\)", header)
        schema.functions[name] = _match(r"expression: (.+)", lines[0])[0]
    else:
        _match("(?:first|second)-phase", header)
        schema.phases[header] = _match(r"expression: (.+)", lines[0])[0]
        for line in lines[1:]:
            _match(r"rerank-count: [0-9]+", line)


def type_of(spec: str) -> tuple[dict[str, int], str | None]:
    """Indexed dimensions with their sizes, in alphabetical order, and the mapped one."""
    dimensions = re.findall(rf"({IDENTIFIER})(?:\{{\}}|\[([0-9]+)\])", spec.split("(", 1)[1])
    mapped = [name for name, size in dimensions if not size]
    indexed = {name: int(size) for name, size in dimensions if size}
    if list(indexed) != sorted(indexed) or len(mapped) > 1:
        raise ValueError(f"{spec}: dimensions should be in alphabetical order, one mapped at most")
    return indexed, mapped[0] if mapped else None


def tensor_of(spec: str, literal: str) -> Tensor:
    """A tensor in literal form; empty: zeros, or no cells."""
    indexed, mapped = type_of(spec)
    shape = tuple(indexed.values())

    def dense(text: str) -> np.ndarray:
        if re.sub(ARRAY, "", text):
            raise ValueError(f"{text[:80]} is no dense tensor")
        values = np.array(eval(text), np.float32)  # digits, dots, commas and brackets only
        if values.shape != shape:
            raise ValueError(f"expected a tensor of shape {shape}, found {values.shape}")
        return values

    if mapped is None:
        return Tensor(tuple(indexed), None, {None: dense(literal) if literal else np.zeros(shape, np.float32)})
    cells: dict[str | None, np.ndarray] = {}
    if literal:
        (inside,) = _match(r"\{(.*)\}", literal)
        for label, values in re.findall(rf"({IDENTIFIER}):(\[[^\]]*\])(?:,|$)", inside):
            cells[label] = dense(values)
        if sum(len(label) + 2 for label in cells) > len(inside) or inside.count(":") != len(cells):
            raise ValueError("a label has to be a name, or quoted")
    return Tensor(tuple(indexed), mapped, cells)


Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


class Evaluator:
    """Evaluates a profile's expressions for one document.

    Args:
        schema: with the profile.
        model: path of the ONNX model.
    """

    def __init__(self, schema: Schema, model: bytes) -> None:
        self.schema = schema
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.query: dict[str, Tensor] = {}
        self.attributes: dict[str, Tensor] = {}

    def set_query(self, tensors: Mapping[str, str]) -> None:
        """The tensors of a query as the query API takes them; others have their defaults."""
        given = {_match(rf"input\.query\(({IDENTIFIER})\)", name)[0]: value for name, value in tensors.items()}
        if not set(given) <= set(self.schema.inputs):
            raise ValueError(f"the profile declares no input of {set(given) - set(self.schema.inputs)}")
        self.query = {
            name: tensor_of(spec, given.get(name, default)) for name, (spec, default) in self.schema.inputs.items()
        }

    def set_document(self, fields: Mapping[str, Any]) -> None:
        """The tensor fields of a document as it is fed."""
        self.attributes = {}
        for name, spec in self.schema.fields.items():
            if spec.startswith("tensor"):
                indexed, mapped = type_of(spec)
                values = fields[name]
                cells = (
                    {label: np.array(each, np.float32) for label, each in values.items()}
                    if mapped
                    else {None: np.array(values, np.float32)}
                )
                if any(each.shape != tuple(indexed.values()) for each in cells.values()):
                    raise ValueError(f"{name}: expected {spec}")
                self.attributes[name] = Tensor(tuple(indexed), mapped, cells)

    def evaluate(self, expression: str) -> Tensor:
        """The value of an expression."""
        tokens = re.findall(rf"{TENSOR}|{IDENTIFIER}|[0-9.]+|[()+*,.{{}}:]", expression)
        if "".join(tokens) != expression.replace(" ", ""):
            raise ValueError(f"{expression}: unknown words")
        value = self._sum(tokens)
        if tokens:
            raise ValueError(f"{expression}: {tokens} are left")
        return value

    def _sum(self, tokens: list[str]) -> Tensor:
        value = self._product(tokens)
        while tokens[:1] == ["+"]:
            tokens.pop(0)
            value = _join(value, self._product(tokens), np.add)
        return value

    def _product(self, tokens: list[str]) -> Tensor:
        value = self._atom(tokens)
        while tokens[:1] == ["*"]:
            tokens.pop(0)
            value = _join(value, self._atom(tokens), np.multiply)
        return value

    def _atom(self, tokens: list[str]) -> Tensor:
        token = tokens.pop(0)
        if token == "(":
            value = self._sum(tokens)
            _take(tokens, ")")
            return value
        if re.fullmatch(r"[0-9.]+", token):
            return _scalar(float(token))
        _take(tokens, "(")
        if token.startswith("tensor"):
            indexed, mapped = type_of(token)
            assert mapped is None
            value = self._sum(tokens)
            _take(tokens, ")")
            return Tensor(tuple(indexed), None, {None: np.full(tuple(indexed.values()), value.dense, np.float32)})
        if token in ("sum", "reduce"):
            return self._reduce(token, tokens)
        name = tokens.pop(0)
        _take(tokens, ")")
        if token == "query":
            return self.query[name]
        if token == "attribute":
            return self.attributes[name]
        if token == "constant":
            spec, literal = self.schema.constants[name]
            return tensor_of(spec, literal) if spec else _scalar(float(literal))
        if token != "onnx" or name != self.schema.model["name"]:
            raise ValueError(f"no feature {token}({name})")
        _take(tokens, ".")
        value = self._output(tokens.pop(0))
        if tokens[:1] == ["{"]:
            _take(tokens, "{", value.names[0], ":")
            place = int(tokens.pop(0))
            _take(tokens, "}")
            return Tensor(value.names[1:], None, {None: value.dense[place]})
        return value

    def _reduce(self, function: str, tokens: list[str]) -> Tensor:
        value, name, over = self._sum(tokens), "sum", None
        if function == "reduce":
            _take(tokens, ",")
            name = tokens.pop(0)
            if tokens[0] == ",":
                tokens.pop(0)
                over = tokens.pop(0)
        _take(tokens, ")")
        if over is not None:
            # Over no label at all, a dense result is zeros.
            assert (over, name) == (value.mapped, "sum")
            size = tuple(self._sizes(value))
            return Tensor(value.names, None, {None: sum(value.cells.values(), np.zeros(size, np.float32))})
        return _scalar({"sum": np.sum, "avg": np.mean}[name](value.dense))

    def _sizes(self, value: Tensor) -> list[int]:
        if value.cells:
            return list(next(iter(value.cells.values())).shape)
        indexed, _ = type_of(self.schema.inputs["pair"][0])
        return list(indexed.values())

    def inputs(self) -> dict[str, np.ndarray]:
        """The model's inputs, which have to be of its types: the rank, the sizes, names in alphabetical order."""
        sources = self.schema.model["inputs"]
        values = {}
        for each in self.session.get_inputs():
            source = sources[each.name]
            value = self.evaluate(self.schema.functions.get(source, source))
            if (
                list(value.dense.shape) != each.shape
                or each.type != "tensor(float)"
                or list(value.names) != sorted(value.names)
            ):
                raise ValueError(
                    f"input {each.name}: {value.names} {value.dense.shape} does not fit {each.type}{each.shape}"
                )
            values[each.name] = value.dense.astype(np.float32)
        if set(values) != set(sources):
            raise ValueError(f"the model has no input {set(sources) - set(values)}")
        return values

    def _output(self, name: str) -> Tensor:
        onnx_name = {vespa: onnx for onnx, vespa in self.schema.model["outputs"].items()}[name]
        names = [each.name for each in self.session.get_outputs()]
        values = dict(zip(names, self.session.run(None, self.inputs()), strict=True))[onnx_name]
        return Tensor(tuple(f"d{place}" for place in range(values.ndim)), None, {None: values})


def _scalar(value: Any) -> Tensor:
    return Tensor((), None, {None: np.asarray(value, np.float64)})


def _take(tokens: list[str], *expected: str) -> None:
    for each in expected:
        if tokens.pop(0) != each:
            raise ValueError(f"expected {each}")


def _join(left: Tensor, right: Tensor, function: Callable[..., np.ndarray]) -> Tensor:
    """Cells that agree in the dimensions that both have."""
    names = tuple(sorted({*left.names, *right.names}))

    def spread(values: np.ndarray, own: tuple[str, ...]) -> np.ndarray:
        return values.reshape([values.shape[own.index(name)] if name in own else 1 for name in names])

    mapped = left.mapped or right.mapped
    if left.mapped and right.mapped:
        assert left.mapped == right.mapped
        labels: Any = [label for label in left.cells if label in right.cells]
    else:
        labels = list((left if left.mapped else right).cells)
    cells = {
        label: function(
            spread(left.cells[label if left.mapped else None], left.names),
            spread(right.cells[label if right.mapped else None], right.names),
        )
        for label in labels
    }
    return Tensor(names, mapped, cells)
