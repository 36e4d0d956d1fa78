"""The API reference: a directive that documents public names, links to them from code in the text, and a check.

`tools/public_api.py` knows which names are public. A name that is exported by several modules is documented where it
is exported first.
"""

from __future__ import annotations

import builtins
import collections.abc
import contextlib
import importlib
import inspect
import math
import re
import sys
import typing
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from docutils import nodes
from docutils.statemachine import StringList
from public_api import MODULES, members_of
from pygments.lexers.special import TextLexer
from sphinx import addnodes
from sphinx.errors import PycodeError
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import stringify_annotation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

INCLUDED = {"SECURITY.md": "reporting", "CHANGELOG.md": "changelog", "CONTRIBUTING.md": "contributing"}
"""Files of the repository's top that are pages of the site, too."""
ELSEWHERE = re.compile(r"(?:trio|attrs|pydantic|contextvars|logging|os|socket|ssl|signal|typing)(?:\.\w+)+")
"""Names of other projects whose references are in docs/inventories."""
LISTED = re.compile(r"^\.\. public:: ([\w.]+)\n\n((?:   [\w*]+\n)+)", re.MULTILINE)
NAME = re.compile(r"[\w.]+?(?=(?:\(.*\))?$)")

logger = logging.getLogger(__name__)


def member_names(cls: type) -> list[str]:
    """Return the names of a class's public members."""
    return [re.split(r"[(\s]", line)[0] for line in members_of(cls)]


@cache
def public_names() -> dict[str, str]:
    """Map each way to write a public name to the name that it is documented by."""
    found: dict[str, str] = {}
    homes: dict[tuple[int, str], str] = {}
    for path in MODULES:
        module = importlib.import_module(path)
        found[path] = path
        for name in module.__all__:
            value = getattr(module, name)
            home = homes.setdefault((id(value), name), f"{path}.{name}")
            found[f"{path}.{name}"] = home
            found.setdefault(name, home)
            inner = getattr(value, "__module__", None)
            if inner:
                found.setdefault(f"{inner}.{name}", home)
            for member in member_names(value) if inspect.isclass(value) else ():
                for prefix in (path, inner):
                    found[f"{prefix}.{name}.{member}"] = f"{home}.{member}"
                found.setdefault(f"{name}.{member}", f"{home}.{member}")
    return found


class Public(SphinxDirective):
    """Document names of a module: `.. public:: trio_ws` with one name in each line of its body.

    The line `*` stands for the module's names that are on no page.
    """

    has_content = True
    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Let autodoc make the nodes."""
        names = [name.strip() for name in self.content if name.strip()]
        if "*" in names:
            names[names.index("*") :] = self.others(self.arguments[0])
        lines = [line for name in names for line in self.lines(name)]
        node = nodes.container()
        source = self.get_source_info()[0]
        self.state.nested_parse(StringList(lines, source=source), 0, node)
        return list(node.children)

    def others(self, path: str) -> list[str]:
        """Return the names of a module that no page lists."""
        pages = Path(self.env.srcdir, "reference").glob("*.md")
        found = [block for page in pages for block in LISTED.findall(page.read_text(encoding="utf-8"))]
        listed = {public_names().get(f"{module}.{name}") for module, names in found for name in names.split()}
        names = importlib.import_module(path).__all__
        homes = {name: public_names()[f"{path}.{name}"] for name in names}
        return [name for name, home in homes.items() if home == f"{path}.{name}" and home not in listed]

    def lines(self, name: str) -> Iterator[str]:
        """Yield the directives for one name."""
        path = public_names()[f"{self.arguments[0]}.{name}"].rpartition(".")[0]
        value = getattr(importlib.import_module(path), name)
        if inspect.isclass(value):
            kind = "exception" if issubclass(value, BaseException) else "class"
            yield f".. auto{kind}:: {path}.{name}"
            members = member_names(value)
            if members:
                yield f"   :members: {', '.join(members)}"
                yield "   :undoc-members:"
                if not issubclass(value, Enum):
                    yield "   :inherited-members:"
        elif inspect.isroutine(value):
            yield f".. autofunction:: {path}.{name}"
        elif type(value).__module__ == "builtins":
            yield f".. autodata:: {path}.{name}"
        else:  # pytest's fixtures
            yield f".. py:function:: {path}.{name}"
            yield ""
            yield from (f"   {line}" for line in to_rest((inspect.getdoc(value) or "").splitlines()))
        yield ""


class Types(Public):
    """Document types that stand in signatures: `.. types:: trio_ws.config` with one name in each line of its body."""

    def lines(self, name: str) -> Iterator[str]:
        """Yield the directives for one name, an alias or a class."""
        path = self.arguments[0]
        value = getattr(importlib.import_module(path), name)
        if inspect.isclass(value):
            yield from (f".. autoclass:: {path}.{name}", "   :members:", "   :undoc-members:")
        else:
            shown = value if isinstance(value, str) else stringify_annotation(value, "smart").replace("~", "")
            shown = re.sub(r"[\w.]+\.(?=\w)", "", shown)
            yield from (f".. py:type:: {name}", f"   :canonical: {shown}", "")
            text = ModuleAnalyzer.for_module(path).find_attr_docs().get(("", name), [])
            yield from (f"   {line}" for line in to_rest(text))
        yield ""


class LinkCode(SphinxTransform):
    """Make code in the text a link, where it is the name of something."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        """Wrap each such literal of the document into a reference."""
        for node in list(self.document.findall(nodes.literal)):
            if "code" in node["classes"] and len(node["classes"]) > 1:
                continue
            target = self.target_of(node)
            if target is not None:
                reference = addnodes.pending_xref(
                    "", refdomain="py", reftype="obj", reftarget=target, refwarn=False, refdoc=self.env.docname
                )
                node.replace_self(reference)
                reference += node

    def target_of(self, node: nodes.literal) -> str | None:
        """Return the full name of what the code names, None if it is to be left alone."""
        found = NAME.match(node.astext())
        if found is None:
            return None
        text, parent, owner = found[0], node.parent, None
        while parent is not None:
            if isinstance(parent, (nodes.reference, addnodes.pending_xref, nodes.title, addnodes.desc_signature)):
                return None
            if owner is None and isinstance(parent, addnodes.desc):
                signature = parent.next_node(addnodes.desc_signature)
                if signature is not None and signature.get("module"):
                    owner = f"{signature['module']}.{signature['fullname']}"
            parent = parent.parent
        return in_class(owner, text) or public_names().get(text) or (text if ELSEWHERE.fullmatch(text) else None)


def in_class(owner: str | None, text: str) -> str | None:
    """Return the full name of a member that is named in its class."""
    names = public_names()
    while owner and owner not in MODULES and "." in owner:
        if f"{owner}.{text}" in names:
            return names[f"{owner}.{text}"]
        owner = owner.rpartition(".")[0]
    return None


GOOGLE_STYLE = Config(napoleon_use_ivar=True)
PARTS = re.compile(r"(`[^`]+`)")


def tables_to_rest(lines: list[str]) -> Iterator[str]:
    """Yield the lines, with tables in Markdown as tables of Sphinx."""
    for number, line in enumerate(lines):
        if not line.startswith("|"):
            yield line
            continue
        if not lines[number - 1].startswith("|"):
            yield from (".. list-table::", "   :header-rows: 1", "")
        if not re.fullmatch(r"[|: -]+", line):
            for column, cell in enumerate(line.strip("| ").split(" | ")):
                yield f"   {' ' if column else '*'} - {cell}"


def to_rest(lines: list[str]) -> list[str]:
    """Return the lines of a docstring of this library's style as reStructuredText.

    The style is Google's, in plain text: single backticks are code, an asterisk is one, and a block that is indented
    after a colon is code.
    """
    found: list[str] = []
    lines = list(tables_to_rest(lines))
    for number, line in enumerate(lines):
        if re.fullmatch(r"Examples?:", line):
            found += [".. rubric:: Example", "", ".. code-block:: python", ""]
            continue
        is_code = line.startswith("    ") and number > 1 and not lines[number - 1].strip()
        if is_code and re.fullmatch(r"\S.*[^:]:", lines[number - 2]):
            found[-2] += ":"
        parts = PARTS.split(line)
        parts[::2] = [re.sub(r"(?<=\S)[*|](?!\w)", r"\\\g<0>", part) for part in parts[::2]]
        parts[1::2] = [f"`{part}`" for part in parts[1::2]]
        found.append("".join(parts))
    return GoogleDocstring(found, GOOGLE_STYLE).lines()


def show_default(value: object, text: str) -> str:
    """Return the value of a constant that is a default of a function or class; its name if the value is not plain."""
    constant = getattr(sys.modules[inspect.unwrap(value).__module__], text, None)
    if isinstance(constant, (int, float, str)):
        return repr(constant)
    if isinstance(constant, (set, frozenset)) and all(isinstance(each, int) for each in constant):
        return f"{{{', '.join(f'{each:d}' for each in sorted(constant))}}}"
    return text


def show_field_default(cls: type, name: str) -> str:
    """Return the default of a field of an attrs class, "..." if its text says nothing."""
    default = attrs.fields_dict(cls)[name].default
    if default == math.inf:
        return "None"  # which the field converts to that
    return repr(default) if isinstance(default, (int, float, str, bytes, tuple, NoneType)) else "..."


def mend_signature(
    _app: Sphinx, _what: str, _name: str, value: object, _options: object, signature: str | None, result: str | None
) -> tuple[str | None, str | None]:
    """Show defaults that are constants, and what a function returns that is decorated as a context manager."""
    if signature is not None:
        if inspect.isclass(value) and attrs.has(value):
            signature = (
                re.sub(r"attr_dict\['(\w+)'\]\.default", lambda found: show_field_default(value, found[1]), signature)
                .replace("= NOTHING", "= ...")
                .replace("=NOTHING", "=...")
            )
        signature = re.sub(
            r"(?<==)( ?)([A-Z][A-Z_]+)\b", lambda found: found[1] + show_default(value, found[2]), signature
        )
    if result is not None and hasattr(value, "__wrapped__"):
        result = re.sub(r"^[\w.~]*AsyncGenerator\[(.*), None\]$", r"contextlib.AbstractAsyncContextManager[\1]", result)
    return signature, result


def convert(_app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Convert a docstring before autodoc takes it."""
    lines[:] = to_rest(lines)


def find_other(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a class by the module that defines it, as types in signatures name it."""
    target = node["reftarget"]
    if node.get("refdomain") == "py":
        home = public_names().get(target) or target.rpartition(".")[2]
        entry = env.domains.python_domain.objects.get(home)
        if entry is not None:
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, [content], home)
    return None


class NameTargets(SphinxTransform):
    """Turn links to files of the repository's top into links to their pages, and take names of Python as such."""

    default_priority = 500

    def is_ours(self, node: addnodes.pending_xref) -> bool:
        """Return whether a link is to a public name of `trio_ws`, outside the compatibility layer."""
        outside = "compat" not in (node.get("py:module") or "")
        return node.get("refdomain") == "py" and outside and f"trio_ws.{node['reftarget']}" in public_names()

    def apply(self, **_: Any) -> None:
        """Change each such link of the document."""
        for node in self.document.findall(addnodes.pending_xref):
            page = INCLUDED.get(node["reftarget"])
            name = node["reftarget"]
            if hasattr(builtins, name):
                node.attributes.pop("refspecific", None)  # or `type` would be a field of that name
            elif self.is_ours(node):
                node.attributes.pop("refspecific", None)  # or the names of `trio_ws.compat` would be found, too
                node["reftarget"] = public_names()[f"trio_ws.{name}"]
            elif name in collections.abc.__all__:  # annotations that are not evaluated have the names of their module
                node["reftarget"] = f"collections.abc.{name}"
            elif name in typing.__all__:
                node["reftarget"] = f"typing.{name}"
            elif name in contextlib.__all__:
                node["reftarget"] = f"contextlib.{name}"
            if page is not None:
                node.update_all_atts({"refdomain": "std", "reftype": "doc", "reftarget": f"/{page}"}, replace=True)


def fields_with_docs(cls: type) -> set[str]:
    """Return the fields that a class explains below their definition or in its section "Args:"."""
    found: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.startswith("trio_ws"):
            with contextlib.suppress(PycodeError):  # a compiled class
                comments = ModuleAnalyzer.for_module(base.__module__).find_attr_docs()
                found |= {name for owner, name in comments if owner == base.__qualname__}
            found.update(re.findall(r"^    (\w+):", inspect.getdoc(base) or "", re.MULTILINE))
    return found


def undocumented(value: object, home: str) -> Iterator[str]:
    """Yield what has no docstring, of a public name and the members of a class."""
    if not inspect.getdoc(value):
        yield home
    if inspect.isclass(value):
        fields = fields_with_docs(value)
        for name in member_names(value):
            member = inspect.getattr_static(value, name)
            is_field = not (inspect.isfunction(member) or isinstance(member, (property, staticmethod, classmethod)))
            if name not in fields if is_field else not inspect.getdoc(getattr(value, name)):
                yield f"{home}.{name}"


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of public names that are not in the reference, or have no docstring."""
    for path in MODULES:
        module = importlib.import_module(path)
        for name in module.__all__:
            home = public_names()[f"{path}.{name}"]
            if home not in env.domains.python_domain.objects:
                logger.warning("%s is public, but on no page of docs/reference", home)
            elif home == f"{path}.{name}":
                for missing in undocumented(getattr(module, name), home):
                    logger.warning("%s is public, but has no docstring", missing)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_lexer("mermaid", TextLexer)  # drawn where the repository is shown, text here
    app.add_directive("public", Public)
    app.add_transform(LinkCode)
    app.add_transform(NameTargets)
    app.add_directive("types", Types)
    app.connect("autodoc-process-docstring", convert)
    app.connect("autodoc-process-signature", mend_signature)
    app.connect("missing-reference", find_other)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
