"""The mutants of a module: its source with one decision changed."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_REPETITION = re.compile(r"(?<=[{,])\d+(?=[,}])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A module with one change. `name` is `function: line → changed line`, which survives changes elsewhere."""

    path: str
    line: int
    name: str
    source: str


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Return the mutants of a module. Annotations, docstrings, f-strings, texts with spaces and `@dataclass` stay."""
    seen = {source}
    for scope, node, changed in _changes(ast.parse(source), ""):
        for text in changed:
            start, end = (_offset(source, *position) for position in _span(node))
            mutated = source[:start] + text + source[end:]
            if mutated in seen:
                continue
            seen.add(mutated)
            line = source.count("\n", 0, start)
            before, after = (one.split("\n")[line].strip() for one in (source, mutated))
            yield Mutant(path=path, line=line + 1, name=f"{scope}: {before} → {after}", source=mutated)


def _span(node: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
    assert isinstance(node, ast.expr | ast.stmt)
    # A decorator's @ belongs to it.
    return (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)


def _offset(source: str, line: int, column: int) -> int:
    lines = source.split("\n")
    return sum(len(one) + 1 for one in lines[: line - 1]) + len(lines[line - 1].encode()[:column].decode())


def _changes(node: ast.AST, scope: str) -> Iterator[tuple[str, ast.AST, Iterable[str]]]:
    yield scope, node, _replacements(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        scope = f"{scope}.{node.name}".lstrip(".")
        for decorator in filter(_is_no_dataclass, node.decorator_list):
            yield scope, decorator, ["(lambda same: same)"]
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield scope, node.test, ["True", "False"]
    if isinstance(node, ast.comprehension):
        for test in node.ifs:
            yield scope, test, ["True"]
    for child in _children(node):
        yield from _changes(child, scope)


def _children(node: ast.AST) -> Iterable[ast.AST]:  # noqa: PLR0911  # a table, as below
    match node:
        case ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
            return ()
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.Expr(value=ast.Constant()):
            return ()
        case ast.Call(func=ast.Name(id="cast"), args=[_, value]):
            return (value,)
        case ast.ClassDef():
            return [*node.bases, *filter(_is_no_dataclass, node.decorator_list), *node.body]
        case ast.AnnAssign(value=value):
            return filter(None, [value])
        case ast.FunctionDef(args=arguments) | ast.AsyncFunctionDef(args=arguments):
            defaults = filter(None, [*arguments.defaults, *arguments.kw_defaults])
            return chain(node.decorator_list, defaults, node.body)
    return ast.iter_child_nodes(node)


def _is_no_dataclass(decorator: ast.expr) -> bool:
    # Its arguments say how instances are made and stored, and decide nothing.
    return not ast.unparse(decorator).startswith("dataclass")


def _replacements(node: ast.AST) -> Iterator[str]:  # noqa: C901, PLR0912  # a table: a case for each kind of change
    match node:
        case ast.Compare(left, operators, values):
            for index, one in enumerate(operators):
                others = [*operators[:index], _COMPARISONS[type(one)](), *operators[index + 1 :]]
                yield f"({ast.unparse(ast.Compare(left, others, values))})"
        case ast.BoolOp(operator, values):
            other = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield f"({ast.unparse(ast.BoolOp(other, values))})"
            for left_out in values:
                kept = [value for value in values if value is not left_out]
                yield f"({ast.unparse(kept[0] if len(kept) == 1 else ast.BoolOp(operator, kept))})"
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield f"({ast.unparse(operand)})"
        case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS:
            yield f"({ast.unparse(ast.BinOp(left, _OPERATORS[type(operator)](), right))})"
        case ast.AugAssign(target, operator, value) if type(operator) in _OPERATORS:
            yield ast.unparse(ast.AugAssign(target, _OPERATORS[type(operator)](), value))
        case ast.Constant(bool() as value):
            yield repr(not value)
        case ast.Constant(int() | float() as value):
            yield from (repr(value + 1), f"({value - 1!r})")
        case ast.Constant(bytes()):
            yield "b'mutant'"
        case ast.Constant(str() as text) if " " not in text.strip(" "):
            yield "'mutant'"
            yield from (repr(one) for one in _other_patterns(text))
        case ast.Constant(str() as text):
            yield from (repr(one) for one in _other_patterns(text))
        case ast.Return(value) if value is not None and not isinstance(value, ast.Constant):
            yield "return None"
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break() | ast.Expr(ast.Call()):
            yield "pass"
        case ast.Tuple(elements) if len(elements) > 1 and isinstance(node.ctx, ast.Load):
            for left_out in elements:
                yield f"({''.join(ast.unparse(one) + ', ' for one in elements if one is not left_out)})"
        case ast.Set(elements) if len(elements) > 1:
            for left_out in elements:
                yield ast.unparse(ast.Set([one for one in elements if one is not left_out]))


def _other_patterns(pattern: str) -> Iterator[str]:
    """Return a regular expression with each of its counts one higher and one lower."""
    for count in _REPETITION.finditer(pattern):
        for other in (int(count[0]) + 1, int(count[0]) - 1):
            if other >= 0:
                yield pattern[: count.start()] + str(other) + pattern[count.end() :]
