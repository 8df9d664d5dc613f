"""With which statuses an operation can be refused, read from the source: a walk over the calls that a handler can make.

What the walk follows: functions by their names in the module; methods of `self`, of attributes that a constructor's
annotated parameters were put into, of what a function says it returns; what a node asks of another by an operation's
name. A refusal counts where its status stands as a number. What is caught for good is left out.
"""

import ast
import dataclasses
import functools
import inspect
import textwrap
import typing
from collections.abc import Callable, Iterator
from typing import Any

from node.presence import Presence
from node.service import Admission, Refused, Service
from node.serving.admission import MeshAdmission
from node.serving.export import Exporter
from node.serving.local import Local
from node.serving.service import MeshService

BEHIND: dict[Any, type] = {Service: MeshService, Admission: MeshAdmission}
"""What stands behind a seam."""
HANDED_IN: dict[tuple[type, str], Callable[..., Any]] = {(Local, "_check_intake"): Presence.check_intake}
"""Methods of another object that a constructor was given."""
ASKED: dict[str, tuple[type, str]] = {
    **{
        name: (Local, name)
        for name in ("submit", "task", "runs", "shards", "coverage", "errors", "letters", "needs", "control")
    },
    "piece": (Exporter, "piece"),
}
"""What nodes ask of each other by name."""
ASKING = frozenset({"_at", "_ask", "call"})
"""Methods that take such a name."""

Known = tuple[Any, type | None]
"""A function and the class that it is a method of."""


def statuses(handler: Callable[..., Any]) -> set[int]:
    """Of all refusals that the handler can reach."""
    found: set[int] = set()
    seen: set[Known] = set()
    open_: list[Known] = [(handler, None)]
    while open_:
        known = open_.pop()
        if known not in seen:
            seen.add(known)
            for item in _Walk(*known).run():
                if isinstance(item, int):
                    found.add(item)
                else:
                    open_.append(item)
    return found


@functools.cache
def _tree(function: Any) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


class _Walk:
    """One function: the statuses that stand in it, and what it calls."""

    def __init__(self, function: Any, owner: type | None) -> None:
        self.function, self.owner = inspect.unwrap(function), owner
        self.names = self.function.__globals__
        self.locals: dict[str, type] = {}

    def run(self) -> Iterator[int | Known]:
        yield from self._of(_tree(self.function))

    def _of(self, node: ast.AST) -> Iterator[int | Known]:
        if isinstance(node, ast.With | ast.AsyncWith) and any(map(self._suppresses, node.items)):
            return
        if isinstance(node, ast.Try) and any(map(self._swallows, node.handlers)):
            for part in (*node.handlers, *node.orelse, *node.finalbody):
                yield from self._of(part)
            return
        if isinstance(node, ast.Assign):
            for target, value in _assigned(node):
                if isinstance(target, ast.Name) and (made := self._type(value)) is not None:
                    self.locals[target.id] = made
        if isinstance(node, ast.Call):
            yield from self._called(node)
        if isinstance(node, ast.Attribute):
            yield from self._method(node)
        for child in ast.iter_child_nodes(node):
            yield from self._of(child)

    def _called(self, call: ast.Call) -> Iterator[int | Known]:
        match call.func:
            case ast.Name(id="refuse" | "problem") if call.args:
                yield from _numbers(call.args[0])
            case ast.Name(id=name):
                function = self.names.get(name)
                if inspect.isfunction(function) and function.__module__.startswith("node."):
                    yield function, None
            case ast.Attribute(attr=name) if name in ASKING:
                for argument in call.args:
                    if isinstance(argument, ast.Constant) and argument.value in ASKED:
                        owner, asked = ASKED[argument.value]
                        yield getattr(owner, asked), owner
            case _:
                pass

    def _method(self, node: ast.Attribute) -> Iterator[Known]:
        """A method that is called here, or handed on."""
        owner = self._type(node.value)
        if owner is None:
            return
        if (owner, node.attr) in HANDED_IN:
            yield HANDED_IN[owner, node.attr], Presence
        elif inspect.isfunction(method := inspect.getattr_static(owner, node.attr, None)):
            yield method, owner

    def _type(self, value: ast.expr) -> type | None:
        """The class of what an expression gives, of the node's own."""
        match value:
            case ast.Name(id="self"):
                return self.owner
            case ast.Name(id=name):
                return self.locals.get(name)
            case ast.Attribute(value=inner, attr=name):
                owner = self._type(inner)
                return attributes(owner).get(name) if owner is not None else None
            case ast.Call(func=ast.Name(id=name)):
                made = self.names.get(name)
                if inspect.isfunction(made):
                    made = _hints(made).get("return")
                return _own(made)
            case _:
                return None

    def _suppresses(self, item: ast.withitem) -> bool:
        call = item.context_expr
        return isinstance(call, ast.Call) and any(
            isinstance(part, ast.Name) and self.names.get(part.id) is Refused for part in call.args
        )

    def _swallows(self, handler: ast.ExceptHandler) -> bool:
        """It catches refusals and raises none."""
        kinds = (
            [part.id for part in ast.walk(handler.type) if isinstance(part, ast.Name)] if handler.type else []
        )
        catches = any(self.names.get(kind) is Refused for kind in kinds)
        return catches and not any(isinstance(part, ast.Raise) for part in ast.walk(handler))


@functools.cache
def attributes(owner: type) -> dict[str, type]:
    """The classes of the attributes that are declared, or that the constructor makes or takes."""
    found = {name: own for name, kind in _hints(owner).items() if (own := _own(kind)) is not None}
    init = vars(owner).get("__init__")
    if dataclasses.is_dataclass(owner) or not inspect.isfunction(init):
        return found
    hints, names = _hints(init), init.__globals__
    for node in ast.walk(_tree(init)):
        if not isinstance(node, ast.Assign):
            continue
        for target, value in _assigned(node):
            match value:
                case ast.Name(id=name):
                    kind = hints.get(name)
                case ast.Call(func=ast.Name(id=name)):
                    kind = names.get(name)
                case _:
                    kind = None
            if isinstance(target, ast.Attribute) and (own := _own(kind)) is not None:
                found[target.attr] = own
    return found


def _assigned(node: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    """The pairs of `a, b = c, d`."""
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def _hints(thing: Any) -> dict[str, Any]:
    """Its annotations; as they stand where a name of one is for the type checker only."""
    try:
        return typing.get_type_hints(thing)
    except NameError:
        return dict(inspect.get_annotations(thing))


def _own(kind: Any) -> type | None:
    kind = BEHIND.get(kind, kind) if inspect.isclass(kind) else None
    return kind if inspect.isclass(kind) and kind.__module__.startswith("node.") else None


def _numbers(value: ast.expr) -> list[int]:
    return [
        part.value
        for part in ast.walk(value)
        if isinstance(part, ast.Constant) and isinstance(part.value, int)
    ]
