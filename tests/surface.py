"""A library's names as its reference lists them (tests/api), and what in our code is not among them.

The references are facts about interfaces that were read from the real packages; test_real_bindings reads them anew.
What an expression is, is told from what the library's own calls return: `builder = trt.Builder(log)` is a Builder, and
`builder.create_network()` an INetworkDefinition. Where our code takes native objects as Any, `Code.known` says what
they are.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

N = TypeVar("N", bound=ast.AST)
API = Path(__file__).with_name("api")
HOOKS: dict[str, dict[str, int]] = {
    "IErrorRecorder": {"get_num_errors": 0},
    "IOutputAllocator": {"reallocate_output": 4, "reallocate_output_async": 5, "notify_shape": 2},
}
"""What the native side calls by name, though it is not on the class: hook → how many arguments."""


class Surface:
    """One version of a library."""

    def __init__(self, name: str) -> None:
        told = json.loads((API / f"{name}.json").read_text())
        self.version: str = f"{told['package']} {told['version']}"
        self.classes: dict[str, Any] = told["classes"]
        self._top = {"__version__", *told["functions"], *told.get("constants", ()), *self.classes}
        self._functions: dict[str, list[str]] = told["functions"]

    def member(self, owner: str, name: str) -> Any:
        """What the reference says of it: signatures, a property's kind, a number; None where there is none."""
        told = self.classes.get(owner, {})
        if "enum" in told and name in ("name", "value"):
            return "ro"
        for kind in ("methods", "enum", "values", "constants", "classes"):
            if name in told.get(kind, {}):
                return told[kind][name]
        properties = told.get("properties", {})
        if name in properties:
            return properties[name] if isinstance(properties, dict) else "ro"
        found = (self.member(base, name) for base in told.get("bases", ()))
        return next((each for each in found if each is not None), None)

    def has(self, chain: Sequence[str]) -> bool:
        """Whether `library.A.B` is there."""
        if chain[0] not in self._top:
            return False
        told = self.classes.get(chain[0])
        return told is None or len(chain) == 1 or self.member(chain[0], chain[1]) is not None

    def signatures(self, owner: str | None, name: str) -> list[list[str]]:
        """The parameters of each overload, without self."""
        told = self._functions.get(name) if owner is None else self.member(owner, name)
        return [_parameters(each, owner) for each in told] if isinstance(told, list) else []

    def given(self, owner: str | None, name: str) -> str | None:
        """The class of what a call or property gives, where it is one of the library's."""
        if owner is None:
            return name if name in self.classes else None
        told = self.member(owner, name)
        text = told[0] if isinstance(told, list) and told else told if isinstance(told, str) else ""
        last = re.split(r"->|:", text)[-1].strip()
        return last if last in self.classes else None

    def hooks(self, owner: str) -> dict[str, int]:
        """What a subclass must define, and how many arguments it is called with."""
        methods = self.classes[owner].get("methods", {})
        told = {name: len(_parameters(each[0], owner)) for name, each in methods.items() if not name.startswith("__")}
        return told | HOOKS.get(owner, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A file of ours that uses the library."""

    name: str
    text: str
    library: tuple[str, ...]
    """What the library is called there: `trt`, or `driver` and `_driver()`."""
    known: Mapping[str, str] = field(default_factory=dict)
    """What the library's calls do not tell: variable, parameter or `Class._attribute` → class of the library."""


def misuses(code: Code, surfaces: Sequence[Surface]) -> list[str]:
    """What the code uses that a version does not have, as lines for people."""
    return sorted({line for surface in surfaces for line in _Reader(code, surface).findings()})


class _Reader:
    def __init__(self, code: Code, surface: Surface) -> None:
        self._code = code
        self._surface = surface
        self._tree = ast.parse(code.text)
        self._kinds: dict[str, str] = dict(code.known)
        self._owners = {node: each.name for each in _all(self._tree, ast.ClassDef) for node in ast.walk(each)}
        # Outer functions first, so that the innermost stays.
        self._scopes = {node: each for each in _all(self._tree, ast.FunctionDef) for node in ast.walk(each)}
        self._aliases = {*code.library}

    def findings(self) -> Iterator[str]:
        self._learn()
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Attribute):
                yield from self._of_attribute(node)
            elif isinstance(node, ast.Call):
                yield from self._of_call(node)
            elif isinstance(node, ast.ClassDef):
                yield from self._of_class(node)

    def _learn(self) -> None:
        for _ in range(3):  # what one assignment tells, another may need
            for node in (*_all(self._tree, ast.Assign), *_all(self._tree, ast.AnnAssign)):
                kind = self._kind(node.value) if node.value is not None else None
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if kind is not None:
                        self._kinds.setdefault(self._named(target), kind)

    def _is_library(self, node: ast.expr) -> bool:
        return ast.unparse(node) in self._aliases

    def _named(self, node: ast.expr) -> str:
        """Class._attribute for what is on self; a variable's name with the line of the function that has it."""
        text = ast.unparse(node)
        if text.startswith("self."):
            return text.replace("self.", f"{self._owners.get(node, '')}.", 1)
        scope = self._scopes.get(node)
        return f"{text}@{scope.lineno if scope else 0}"

    def _kind(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return self._given(node.func)
        known = self._kinds.get(self._named(node)) or self._code.known.get(ast.unparse(node))
        if known is not None or not isinstance(node, ast.Attribute):
            return known
        return self._given(node) if self._kind(node.value) is not None else None

    def _given(self, node: ast.Attribute) -> str | None:
        owner = None if self._is_library(node.value) else self._kind(node.value)
        if owner is None and not self._is_library(node.value):
            return None
        return self._surface.given(owner, node.attr)

    def _of_attribute(self, node: ast.Attribute) -> Iterator[str]:
        chain = [node.attr]
        inner = node.value
        while isinstance(inner, ast.Attribute) and not self._is_library(inner):
            chain.insert(0, inner.attr)
            inner = inner.value
        if self._is_library(inner):
            if not self._surface.has(chain):
                yield self._line(node, f"{'.'.join(chain)}")
            return
        owner = self._kind(node.value)
        if owner is not None and self._surface.member(owner, node.attr) is None:
            yield self._line(node, f"{owner}.{node.attr}")

    def _of_call(self, node: ast.Call) -> Iterator[str]:
        if not isinstance(node.func, ast.Attribute):
            return
        owner = None if self._is_library(node.func.value) else self._kind(node.func.value)
        if owner is None and not self._is_library(node.func.value):
            return
        name = node.func.attr
        if owner is None and name in self._surface.classes:
            owner, name = name, "__init__"
        allowed = self._surface.signatures(owner, name)
        if any(isinstance(each, ast.Starred) for each in node.args) or not allowed:
            return
        if not any(_takes(each, node) for each in allowed):
            takes = " or ".join(f"({', '.join(each)})" for each in allowed)
            yield self._line(node, f"{ast.unparse(node)} instead of {takes}")

    def _of_class(self, node: ast.ClassDef) -> Iterator[str]:
        for base in node.bases:
            if not (isinstance(base, ast.Attribute) and self._is_library(base.value)):
                continue
            if base.attr not in self._surface.classes:
                continue  # told as a name that is not there
            methods = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
            for hook, count in self._surface.hooks(base.attr).items():
                if hook not in methods:
                    yield self._line(node, f"{node.name} without {base.attr}.{hook}")
                elif len(methods[hook].args.args) - 1 != count:
                    yield self._line(node, f"{node.name}.{hook} with other than {count} arguments")
            if "__init__" in methods and not _calls_base(methods["__init__"], ast.unparse(base)):
                yield self._line(node, f"{node.name} without a call of {base.attr}.__init__")

    def _line(self, node: ast.expr | ast.stmt, what: str) -> str:
        return f"{self._code.name}:{node.lineno}: {what} is not in {self._surface.version}"


def _all(tree: ast.AST, kind: type[N]) -> Iterator[N]:
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def _calls_base(init: ast.FunctionDef, base: str) -> bool:
    calls = {ast.unparse(call.func) for call in _all(init, ast.Call)}
    return bool({f"{base}.__init__", "super().__init__"} & calls)


def _takes(parameters: list[str], call: ast.Call) -> bool:
    names = {each.arg for each in call.keywords}
    return len(call.args) + len(names) <= len(parameters) and names <= {*parameters[len(call.args) :]}


def _parameters(signature: str, owner: str | None) -> list[str]:
    """The names in `(self: C, a: Dims, b: int = 0) -> D`, or in Boost's `( (C)arg1 [, (int)flags=0]) -> D`."""
    if re.match(r"\(\s*\[?\s*\(\w+\)", signature):
        typed = re.findall(r"\((\w+)\)(\w+)", signature)
        has_self = owner is not None and typed[0][0] in (owner, "object")
        return [name for _, name in typed[has_self:]]
    inner = signature[1 : _closing(signature)]
    names = [re.split(r"[:=]", each)[0].strip() for each in _split(inner)]
    return [each for each in names if each not in ("", "self", "this")]


def _closing(text: str) -> int:
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0:
            return at
    return len(text)


def _split(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for at, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    yield text[start:]
