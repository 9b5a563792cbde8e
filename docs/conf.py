"""How Sphinx builds the documentation; `make docs` runs it with warnings as errors."""

import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "docs" / "extensions")]

_project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "Osteomark"
version = release = _project["version"]
copyright = "the Osteomark authors"  # Sphinx's own name

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "osteomark_sphinx",
]
templates_path = ["templates"]
exclude_patterns = ["extensions", "templates"]
nitpicky = False  # the API pages name classes of torch and numpy, whose inventories would need the network

# Pages are MyST Markdown.
myst_enable_extensions = ["deflist", "dollarmath", "tasklist"]
myst_heading_anchors = 3

# API pages: Google-style docstrings in plain text, where `name` is code.
default_role = "code"
autosummary_generate = True
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "show-inheritance": True,
    "ignore-module-all": True,  # a name has its page where it is defined, not where it is passed on
}
autodoc_inherit_docstrings = False  # what is inherited from torch and Lightning is documented there
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 100

# Formulas become MathML, which browsers draw without scripts, fonts or a network.
html_math_renderer = "mathml"

html_theme = "pydata_sphinx_theme"
html_title = f"Osteomark {release}"
html_static_path = ["static"]
html_css_files = ["osteomark.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_depth": 3,
    "navbar_align": "left",
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
