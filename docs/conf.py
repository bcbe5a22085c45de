"""The documentation site: ``sphinx-build -W --keep-going -n -c docs -b html . site``, from the repository's root.

The source folder is the root, so that a link between pages of docs, examples and datasets is the same here as it is to
who reads the files. Nothing is looked up in the network.
"""

import pkgutil
from importlib import import_module

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.ext.napoleon.docstring import GoogleDocstring

import gamlp_admm
from gamlp_admm.training.session import Algorithm

project = "gamlp-admm"
author = "the gamlp_admm authors"
release = version = gamlp_admm.__version__
copyright = f"2026 {author}, MIT licence"

root_doc = "docs/index"
include_patterns = ["docs/**.md", "examples/**.md", "examples/notebooks/*.ipynb", "datasets/README.md", "CHANGELOG.md"]
exclude_patterns = [".*", "**/.*", "site", "build", "dist"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
nb_execution_mode = "off"  # the tests execute the notebooks
suppress_warnings = ["myst.header"]  # the changelog starts each version with the same headings

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Types stand in annotations: what is before a colon in the first line of an attribute is no type.
GoogleDocstring._consume_inline_attribute = lambda self: (
    "",
    self.__class__(self._consume_to_end(), self._config).lines(),
)
napoleon_use_ivar = True
nitpick_ignore_regex = [
    # what other packages define: their inventories are in the network
    (r"py:.*", r"(torch|torch_geometric|np|numpy|sparse|scipy|pd|pandas|sklearn|optuna|nx)\b.*"),
    (r"py:.*", r"(os|abc|collections|pathlib|types)\b.*"),
    (r"py:class", r".*\b(list|dict|tuple)\[.*"),  # the first half of a type with a comma
]

html_theme = "furo"
html_title = "gamlp-admm"
html_additional_pages = {"index": "redirect.html"}  # the site's root leads to the first page
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
copybutton_exclude = ".linenos, .gp, .go"


MODULES = [
    import_module(module.name)
    for module in pkgutil.walk_packages(gamlp_admm.__path__, "gamlp_admm.")
    if not module.name.endswith("__main__")
]


def stands_in_code(target):
    """Return whether something of the package has this name: a module, or what is in a module, or in a class of one."""
    if any(module.__name__ == target for module in MODULES):
        return True
    for module in MODULES:
        found = module
        for name in target.removeprefix(f"{module.__name__}.").split("."):
            found = getattr(found, name, None) or getattr(found, "__annotations__", {}).get(name)
        if found is not None:
            return True
    return False


def find(app, env, node, content):
    """Lead a name to the one object that is documented under it; what only the code has stays a name."""
    domain, target = env.domains.python_domain, node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target:
        return None
    parts = target.split(".")
    last = parts[-2:] if node["reftype"] in ("meth", "attr") else parts[-1:]
    kinds = domain.objtypes_for_role(node["reftype"]) or ()
    ends = [n for n, known in domain.objects.items() if known.objtype in kinds and n.split(".")[-len(last) :] == last]
    if ends:
        found = min(ends, key=len)
        return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], found, node, content)
    names = (target, f"{node.get('py:class')}.{target}")  # of its class, where it stands in the docstring of one
    return content if any(map(stands_in_code, names)) else None


def skip(app, what, name, thing, skipped, options):
    """Leave out what the loop asks an algorithm for: who trains has no use for it."""
    hooks = {name for name in vars(Algorithm) if not name.startswith("_")}
    return True if what == "class" and name in hooks - {"converges"} and "hooks" not in options else None


def show_formula(visitor, node):
    """Write a formula as MathML, which browsers show by themselves: MathJax would come from the network."""
    formula = node.astext()
    if "&" in formula:
        formula = rf"\begin{{align*}}{formula}\end{{align*}}"
    block = isinstance(node, nodes.math_block)
    shown = convert(formula, display="block" if block else "inline")
    visitor.body.append(f'<div class="formula">{shown}</div>' if block else shown)
    raise nodes.SkipNode


def keep_together(app, docname, source):
    """Keep a mean and its deviation on one line."""
    source[0] = source[0].replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def setup(app):
    """Register what is above."""
    app.add_html_math_renderer("mathml", (show_formula, None), (show_formula, None))
    app.connect("source-read", keep_together)
    app.connect("missing-reference", find)
    app.connect("autodoc-skip-member", skip)
