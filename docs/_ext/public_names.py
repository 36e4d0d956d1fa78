"""Links from code in the text to the API reference, and what else the site needs of Sphinx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

INCLUDED = {"SECURITY.md": "reporting", "CHANGELOG.md": "changelog", "CONTRIBUTING.md": "contributing"}
"""Files of the repository's top that are pages of the site, too."""


def find_page(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a link to a file of the repository's top that is a page of the site."""
    page = INCLUDED.get(node["reftarget"])
    if page is None:
        return None
    return make_refnode(app.builder, node["refdoc"], page, None, [content])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_lexer("mermaid", TextLexer)  # drawn where the repository is shown, text here
    app.connect("missing-reference", find_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
