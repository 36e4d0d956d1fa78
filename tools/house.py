"""Measure the structure and the prose of a package: sizes, private accesses, import cycles, register of docstrings.

`python tools/house.py [FOLDER] [--details]` prints a table; FOLDER is a package's folder, `trio_ws` by default.
Names are followed as text: `x._name` counts as private access to another module unless the module defines `_name`
itself.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

RELATIVE_SUBJECT = re.compile(r"(?i)(^|[:.;]\s+)(who|what|whoever|whatever|whose|those who|that which)\b")
REGISTER = re.compile(
    r"(?i)\b(is told|are told|was told|tells?|told|hears?|heard|owes?|owed|lets? go|nobody|somebody|"
    r"says? goodbye|sees? off|grief|farewells?)\b"
)
PRIVATE = re.compile(r"_[a-z]")
NOUN_COLON = re.compile(r"^[A-Z][\w ,]{0,40}: ")
WORD = re.compile(r"[A-Za-z][A-Za-z'_-]*")


class Module(NamedTuple):
    """One source file of the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """The number of lines."""
        return self.text.count("\n")


def name_of(path: Path, folder: Path) -> str:
    """Return the name of the module in a file below a package's folder."""
    parts = (folder.name, *path.relative_to(folder).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_of(path: Path, folder: Path) -> Module:
    """Read one module below a package's folder."""
    text = path.read_text(encoding="utf-8")
    return Module(name_of(path, folder), path, text, ast.parse(text))


def modules_of(folder: Path) -> list[Module]:
    """Read all modules below a package's folder."""
    return [module_of(path, folder) for path in sorted(folder.rglob("*.py"))]


BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""The attributes of statements that hold statements."""


def statements_of(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements below a node, at any depth: definitions and imports are in no expression."""
    for block in BLOCKS:
        for child in getattr(node, block, ()):
            yield child
            yield from statements_of(child)


@cache
def nodes_of(tree: ast.AST) -> list[ast.AST]:
    """Return all nodes of a tree."""
    return list(ast.walk(tree))


def functions_of(module: Module) -> Iterator[Function]:
    """Yield every function and method."""
    for node in statements_of(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def length_of(function: Function) -> int:
    """Return the lines of a function without its docstring."""
    documentation = ast.get_docstring(function, clean=False)
    end = function.end_lineno or function.lineno
    return end - function.lineno + 1 - (documentation.count("\n") + 1 if documentation else 0)


def percentile(values: list[int], share: float) -> int:
    """Return the value below which this share of them lies; 0 for none."""
    ordered = sorted(values) or [0]
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: list[int]) -> str:
    """Return the median as text, `0` for none."""
    return f"{statistics.median(values or [0]):.0f}"


def documented_of(module: Module) -> Iterator[tuple[Documented, str]]:
    """Yield what has a docstring, with it."""
    for node in (module.tree, *statements_of(module.tree)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield node, text


def private_names(tree: ast.Module) -> set[str]:
    """Return the private attribute names that a module defines itself."""
    names: set[str] = set()
    for node in nodes_of(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}:
            if isinstance(node.ctx, ast.Store):
                names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("_"):
            names.add(node.value)  # a name in __slots__
    return names


def private_accesses(module: Module) -> list[str]:
    """Return the accesses to private attributes of objects that are defined elsewhere."""
    own = private_names(module.tree)
    found = []
    for node in nodes_of(module.tree):
        if not isinstance(node, ast.Attribute) or not PRIVATE.match(node.attr) or node.attr in own:
            continue
        of_self = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
        of_super = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super"
        if not of_self and not of_super:
            found.append(f"{module.path}:{node.lineno} {ast.unparse(node)}")
    return found


class Class(NamedTuple):
    """A class with the module that defines it."""

    module: Module
    node: ast.ClassDef


def classes_of(modules: list[Module]) -> dict[str, list[Class]]:
    """Return the classes of a package by their names."""
    found: dict[str, list[Class]] = defaultdict(list)
    for module in modules:
        for node in statements_of(module.tree):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(Class(module, node))
    return found


def defined_in(node: ast.ClassDef) -> set[str]:
    """Return the private names that a class defines: methods, slots, class attributes, attributes of self."""
    wrapper = ast.Module(body=[node], type_ignores=[])
    return {name for name in private_names(wrapper) if PRIVATE.match(name)}


def bases_of(item: Class, classes: dict[str, list[Class]]) -> Iterator[Class]:
    """Yield the base classes that the package defines, nearest first."""
    imported = {
        alias.asname or alias.name: node.module
        for node in statements_of(item.module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for base in item.node.bases:
        name = ast.unparse(base).partition("[")[0]
        for candidate in classes.get(name, []):
            if candidate.module is item.module or imported.get(name) == candidate.module.name:
                yield candidate
                yield from bases_of(candidate, classes)


def inherited_uses(modules: list[Module]) -> list[str]:
    """Return the uses, on self, of private names that a base class in another module defines."""
    classes = classes_of(modules)
    found = []
    for items in classes.values():
        for item in items:
            own = defined_in(item.node)
            for base in bases_of(item, classes):
                if base.module is item.module:
                    continue
                names = defined_in(base.node) - own
                for node in ast.walk(item.node):
                    if not isinstance(node, ast.Attribute) or node.attr not in names:
                        continue
                    if ast.unparse(node.value) in {"self", "super()"}:
                        found.append(f"{item.node.name} -> {base.node.name}: {node.attr}")
                own |= names
    return found


def imports_of(module: Module, names: set[str], *, typing: bool, lazy: bool) -> set[str]:
    """Return the modules of the package that one imports, under TYPE_CHECKING and in functions too if asked."""
    found: set[str] = set()

    def visit(node: ast.AST, in_typing: bool, in_function: bool) -> None:
        if isinstance(node, ast.If) and _is_for_types(node.test):
            in_typing = True
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            in_function = True
        if (typing or not in_typing) and (lazy or not in_function):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names if alias.name in names)
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    if full in names:
                        found.add(full)
                    elif node.module in names:
                        found.add(node.module)
        for block in BLOCKS:
            for child in getattr(node, block, ()):
                visit(child, in_typing, in_function)

    visit(module.tree, False, False)
    return found - {module.name}


def _is_for_types(test: ast.expr) -> bool:
    named = (getattr(node, "id", None) or getattr(node, "attr", None) for node in ast.walk(test))
    return "TYPE_CHECKING" in named


def components_of(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected components, those that others point to first (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def connect(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                connect(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component: set[str] = set()
            while node not in component:
                component.add(stack.pop())
            found.append(component)

    sys.setrecursionlimit(10_000)
    for node in sorted(graph):
        if node not in index:
            connect(node)
    return found


def cycles_of(modules: list[Module], *, typing: bool, lazy: bool) -> list[set[str]]:
    """Return the sets of modules that import each other."""
    names = {module.name for module in modules}
    graph = {module.name: imports_of(module, names, typing=typing, lazy=lazy) for module in modules}
    return [component for component in components_of(graph) if len(component) > 1]


def room_of(name: str) -> str:
    """Return the room that a module is in: its folder, or itself if it lies in the top folder."""
    parts = name.split(".")
    return ".".join(parts[:2])


def floors_of(modules: list[Module]) -> tuple[int, int, list[set[str]]]:
    """Return the number of rooms and floors, and the rooms that import each other.

    A room is a folder of the package or a file of its top folder; it stands one floor above all that it imports.
    """
    names = {module.name for module in modules}
    graph: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        room = room_of(module.name)
        targets = imports_of(module, names, typing=True, lazy=False)
        graph[room] |= {room_of(target) for target in targets} - {room}
    components = components_of(graph)
    floor: dict[str, int] = {}
    for component in components:
        below = [floor[target] for room in component for target in graph[room] if target in floor]
        for room in component:
            floor[room] = 1 + max(below, default=0)
    return len(graph), max(floor.values()), [each for each in components if len(each) > 1]


FOREIGN_NAMES = ("trio_ws.compat.trio_websocket",)
"""Folders that have the public interface of another library: its names are not ours to choose."""


def homonyms_of(modules: list[Module]) -> list[str]:
    """Return the class names that two modules define; a leading underscore does not tell them apart.

    Modules of `FOREIGN_NAMES` do not count.
    """
    places: dict[str, set[str]] = defaultdict(set)
    for name, items in classes_of([each for each in modules if not each.name.startswith(FOREIGN_NAMES)]).items():
        places[name.lstrip("_")] |= {item.module.name for item in items}
    return sorted(name for name, where in places.items() if len(where) > 1)


def is_public(node: Documented) -> bool:
    """Return whether a class or function has a public name."""
    return isinstance(node, ast.Module) or not node.name.startswith("_")


def public_of(module: Module) -> Iterator[Documented]:
    """Yield the public classes, functions and methods of a module, and the module itself."""
    yield module.tree
    for node in module.tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and is_public(node):
            yield node
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)) and is_public(member):
                        yield member


def is_property(node: Documented) -> bool:
    """Return whether a definition is a property or an overload."""
    decorators = getattr(node, "decorator_list", [])
    return any("overload" in ast.unparse(each) or "setter" in ast.unparse(each) for each in decorators)


def prose_of(modules: list[Module]) -> dict[str, str]:
    """Return the figures of the docstrings' prose."""
    texts = [text for module in modules for _, text in documented_of(module)]
    words = sum(len(WORD.findall(text)) for text in texts) or 1
    subjects = sum(len(RELATIVE_SUBJECT.findall(text)) for text in texts)
    register = sum(len(REGISTER.findall(text)) for text in texts)
    openings = [ast.get_docstring(module.tree) or "" for module in modules]
    lengths = [len(WORD.findall(text.split("\n\n")[0])) for text in texts]
    return {
        "docstrings: relative clause as subject, per 1,000 words": f"{1000 * subjects / words:.2f} ({subjects})",
        "docstrings: told, hears, owes, nobody, ..., per 1,000 words": f"{1000 * register / words:.2f} ({register})",
        'module docstrings "Noun: rest"': f"{sum(bool(NOUN_COLON.match(text)) for text in openings)} of {len(modules)}",
        "summary, median / p90 words": f"{median(lengths)} / {percentile(lengths, 0.9)}",
    }


def table_of(folder: Path) -> dict[str, str]:
    """Return all figures of a package by their names."""
    modules = modules_of(folder)
    sizes = [module.lines for module in modules if module.lines > 3]
    lengths = [length_of(function) for module in modules for function in functions_of(module)]
    classes = [item.node for items in classes_of(modules).values() for item in items]
    methods = [sum(isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) for each in node.body) for node in classes]
    public = [node for module in modules for node in public_of(module) if not is_property(node)]
    documented = sum(ast.get_docstring(node) is not None for node in public)
    accesses = [access for module in modules for access in private_accesses(module)]
    rooms, floors, circles = floors_of(modules)
    homonyms = homonyms_of(modules)
    run_time = cycles_of(modules, typing=False, lazy=False)
    typed = cycles_of(modules, typing=True, lazy=False)
    lazy = cycles_of(modules, typing=True, lazy=True)
    return {
        "lines of Python": f"{sum(module.lines for module in modules):,}",
        "modules; flat in the root": f"{len(modules)}; {sum(module.path.parent == folder for module in modules)}",
        "module, median / p90 / longest": (
            f"{median(sizes)} / {percentile(sizes, 0.9)} / {max(sizes, default=0)} lines"
        ),
        "modules over 400 lines": str(sum(size > 400 for size in sizes)),
        "function, median / p90 / longest": (
            f"{median(lengths)} / {percentile(lengths, 0.9)} / {max(lengths, default=0)} lines"
        ),
        "functions over 25 / 40 / 50 lines": " / ".join(
            str(sum(length > bound for length in lengths)) for bound in (25, 40, 50)
        )
        + f" of {len(lengths):,}",
        "classes over 30 methods": str(sum(count > 30 for count in methods)),
        "public docstrings": f"{documented} of {len(public)}",
        "private accesses to another module": str(len(accesses)),
        "private names of a base in another module, on self": str(len(inherited_uses(modules))),
        "modules in import cycles: run time / TYPE_CHECKING / in functions": " / ".join(
            str(sum(len(each) for each in cycles)) for cycles in (run_time, typed, lazy)
        ),
        "rooms / floors / rooms that import each other": f"{rooms} / {floors} / {sum(len(each) for each in circles)}",
        "class names with two meanings, without compat/trio_websocket": " ".join([str(len(homonyms)), *homonyms]),
        **prose_of(modules),
    }


def details_of(folder: Path) -> Iterator[str]:
    """Yield a line for each place behind the figures that should be 0."""
    modules = modules_of(folder)
    yield from (access for module in modules for access in private_accesses(module))
    yield from inherited_uses(modules)
    for cycle in cycles_of(modules, typing=True, lazy=True):
        yield "cycle: " + " ".join(sorted(cycle))
    for module in modules:
        for node, text in documented_of(module):
            if RELATIVE_SUBJECT.search(text) or REGISTER.search(text):
                yield f"{module.path}:{getattr(node, 'lineno', 1)} prose: {text.splitlines()[0][:90]}"


def main(arguments: list[str]) -> int:
    """Print the table of a package, with `--details` the places behind it; return the exit status."""
    parser = argparse.ArgumentParser(prog="house.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=Path("trio_ws"), help="of a package")
    parser.add_argument("--details", action="store_true", help="list the places behind figures that should be 0")
    options = parser.parse_args(arguments)
    if not any(options.folder.rglob("*.py")):
        parser.error(f"there is no Python module below {options.folder}")
    for label, figure in table_of(options.folder).items():
        print(f"{label:68}{figure}")
    if options.details:
        print("\n".join(details_of(options.folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
