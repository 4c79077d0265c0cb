"""The documentation site: bash scripts/docs.sh builds it. Sphinx, MyST for Markdown, Furo to look at.

The source directory is the repository's root, so that the README and the pages check each other's links.
"""

import alexnet_jax

project = "alexnet_jax"
author = "The alexnet_jax authors"
copyright = f"{author}, Apache-2.0"  # noqa: A001 (Sphinx's name for it)
release = alexnet_jax.__version__
html_title = f"alexnet_jax {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
include_patterns = ["*.md", "docs/**.md"]
exclude_patterns = ["build", "runs", "**/.venv*"]
root_doc = "docs/index"
templates_path = ["_templates"]
html_additional_pages = {"index": "redirect.html"}
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["code.css"]
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

# Every reference to a name of ours must lead somewhere; other projects' types need not.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!alexnet_jax).*")]

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
toc_object_entries_show_parents = "hide"
