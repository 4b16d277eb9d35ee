"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

import tracemw

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "tracemw"
copyright = "the authors of tracemw"  # noqa: A001  Sphinx calls it so
version = release = tracemw.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "settings_reference"]
exclude_patterns = ["_build"]
templates_path: list[str] = []

# Pages are Markdown; docstrings are reStructuredText, whose single backticks are code, and links where they can be.
myst_enable_extensions = ["deflist", "attrs_inline"]
myst_heading_anchors = 3
default_role = "code-or-link"

autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"

# Every public name of tracemw that is referred to must be described. Type variables are not. Names of other packages
# would have to be looked up over the network.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!tracemw\b).*"), (r"py:.*", r"tracemw\.(\w+\.[A-Z]|_.*)")]

html_theme = "furo"
html_title = f"tracemw {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
