"""
The damages: small changes to a syntax tree, each a mistake that a person could make.

A damage is known by its file, its place and its operator. Which are drawn depends on what a place says and not on its
line, so that an edit elsewhere in a file draws no others.
"""

import ast
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

SWAPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}

# Where a constant is no behaviour: what a name's type is, and what a module exports.
SILENT_FIELDS = {"annotation", "returns", "decorator_list", "type_params"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One damage: where, which, the how-manieth of its kind that begins there, its node in the walk below, its lot."""

    file: str
    line: int
    column: int
    operator: str
    twin: int
    node: int
    key: str

    @property
    def id(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}:{self.operator}"
        return place if self.twin == 1 else f"{place}:{self.twin}"


Change = Callable[[], ast.AST]


def changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """What can be done to this node: the operator's name, and a function that gives what stands there instead."""
    match node:
        case ast.Compare():
            yield from _comparisons(node)
        case ast.BoolOp():
            yield "and-or", partial(ast.BoolOp, ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield "negate", lambda: node.operand
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.UnaryOp | ast.Compare):
            yield "negate", lambda: _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Constant():
            yield from ((operator, partial(ast.Constant, value)) for operator, value in _constants(node.value))
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "none", lambda: ast.Return(ast.Constant(None))
        case ast.Raise():
            yield "no-raise", ast.Pass


def _comparisons(node: ast.Compare) -> Iterator[tuple[str, Change]]:
    for name, table in (("swap", SWAPPED), ("boundary", BOUNDARY)):
        for at, op in enumerate(node.ops):
            if type(op) in table:
                ops = [*node.ops[:at], table[type(op)](), *node.ops[at + 1 :]]
                suffix = str(at + 1) if len(node.ops) > 1 else ""
                yield name + suffix, partial(ast.Compare, node.left, ops, node.comparators)


def _constants(value: object) -> list[tuple[str, bool | int | str | bytes]]:
    if isinstance(value, bool):
        return [("flip", not value)]
    if isinstance(value, int):
        return [("plus-one", value + 1), ("minus-one", value - 1)]
    if isinstance(value, str):
        return [("string", value + "~")]
    if isinstance(value, bytes):
        return [("string", value + b"~")]
    return []


def _with(node: ast.If | ast.While | ast.IfExp, test: ast.expr) -> ast.AST:
    fields = dict(ast.iter_fields(node)) | {"test": test}
    return type(node)(**fields)


Place = tuple[ast.AST, str, int | None]


def walk(tree: ast.Module) -> Iterator[tuple[ast.AST, Place]]:
    """Every node that may be damaged, with its place; docstrings, sentences, types and decorators are left out."""
    stack: list[ast.AST] = [tree]
    while stack:
        parent = stack.pop()
        for field, value in ast.iter_fields(parent):
            if field in SILENT_FIELDS:
                continue
            for at, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST) and not _says_nothing(child) and not _is_silent(parent, field, at):
                    yield child, (parent, field, at)
                    stack.append(child)


def _says_nothing(node: ast.AST) -> bool:
    """A docstring, or a sentence for people: its words may change, its code and its status may not."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Constant(value=str() as text) | ast.JoinedStr(values=[*_, ast.Constant(value=str() as text)]):
            return text.endswith(".") and " " in text
    return False


def _is_silent(parent: ast.AST, field: str, at: int | None) -> bool:
    match parent:
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Subscript(value=ast.Name(id="Literal")):
            return field == "slice"
        case ast.Call(func=ast.Name(id="cast" | "TypeVar" | "NewType")):
            return field == "args" and at == 0
    return False


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Every damage to one file, in the order of its lines."""
    found: list[Mutant] = []
    alike: Counter[str] = Counter()
    here: Counter[tuple[int, int, str]] = Counter()
    tree = ast.parse(source)
    home = _homes(tree)
    for number, (node, _) in enumerate(walk(tree)):
        for operator, _ in changes(node):
            said = f"{file}|{home.get(id(node), '')}|{operator}|{ast.unparse(node)}"
            alike[said] += 1
            line, column = _position(node)
            here[line, column, operator] += 1
            twin = here[line, column, operator]
            found.append(Mutant(file, line, column, operator, twin, number, f"{said}|{alike[said]}"))
    return sorted(found, key=lambda m: (m.line, m.column, m.operator, m.twin))


def _position(node: ast.AST) -> tuple[int, int]:
    assert isinstance(node, ast.stmt | ast.expr)
    return node.lineno, node.col_offset + 1


def _homes(tree: ast.Module) -> dict[int, str]:
    """The function or class that each node lies in; the innermost wins, because it comes last."""
    scopes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {id(node): scope.name for scope in ast.walk(tree) if isinstance(scope, scopes) for node in ast.walk(scope)}


def damaged(source: str, mutant: Mutant | None) -> str:
    """The source with the damage done; with None, the same source as the syntax tree prints it."""
    tree = ast.parse(source)
    if mutant is not None:
        node, (parent, field, at) = list(walk(tree))[mutant.node]
        new = ast.copy_location(dict(changes(node))[mutant.operator](), node)
        if at is None:
            setattr(parent, field, new)
        else:
            getattr(parent, field)[at] = new
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def draw(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """As many as asked for, of each operator alike, the same for the same seed; in the order they were given."""

    def lot(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{seed}|{mutant.key}".encode()).digest()

    by_operator: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in sorted(mutants, key=lot):
        by_operator[mutant.operator].append(mutant)
    rounds = [(turn, operator) for operator, each in by_operator.items() for turn in range(len(each))]
    chosen = {by_operator[operator][turn].id for turn, operator in sorted(rounds)[:count]}
    return [mutant for mutant in mutants if mutant.id in chosen]
