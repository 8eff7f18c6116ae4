"""How Sphinx makes the documentation's site; `sphinx-build -W docs docs/_build` does."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import wizer

project = "Wizer for Python"
author = "The Wizer for Python developers"
copyright = f"{author}; Apache-2.0"
version = release = wizer.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "commands",
]
suppress_warnings = ["misc.highlighting_failure"]  # Pygments' lexer of the text format knows no proposals
exclude_patterns = ["_build", "*.json"]
nitpicky = False  # types of the standard library and of numpy are named in prose as well

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # a build needs no network

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
autoclass_content = "both"
napoleon_use_ivar = True
napoleon_custom_sections = [("Options", "params_style")]  # `wizer.options.explains` writes it
default_role = "code"

copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "Wizer for Python"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
