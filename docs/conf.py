"""Configuration of the documentation's site, which Sphinx builds into site/ (`make docs`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tools"), str(HERE / "_ext")]

os.environ["TRIO_WS_PURE_PYTHON"] = "1"  # compiled methods have no annotations

from trio_ws import __version__  # noqa: E402

project = "trio_ws"
author = "The trio_ws authors"
project_copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "public_names",
]
exclude_patterns = ["_ext", "_static", "inventories"]

# Markdown
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
suppress_warnings = ["myst.header"]  # included pages begin below their first heading

smartquotes_action = "D"  # dashes; quotation marks are part of values

# Docstrings: `name` is code, and a link where it is the name of something (see _ext/public_names.py).
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

# A build asks no network: the inventories are in the repository (tools/inventories.py).
intersphinx_mapping = {
    name: (url, str(HERE / "inventories" / f"{name}.inv"))
    for name, url in {
        "attrs": "https://www.attrs.org/en/stable/",
        "pydantic": "https://docs.pydantic.dev/latest/",
        "python": "https://docs.python.org/3/",
        "trio": "https://trio.readthedocs.io/en/stable/",
    }.items()
    if (HERE / "inventories" / f"{name}.inv").exists()
}
intersphinx_disabled_reftypes = ["std:*"]  # a link to another project is named in full, or comes from a type

# The site
html_theme = "furo"
html_title = f"trio_ws {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
