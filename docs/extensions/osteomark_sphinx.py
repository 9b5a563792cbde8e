"""What the documentation asks of Sphinx: generated tables, formulas without scripts, plain docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from itertools import cycle
from types import ModuleType
from typing import get_type_hints

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator
from tables import TABLES

from metrics.base import Column

FIELD = type(Column.title)  # of any named tuple
PACKAGES = ("benchmark", "datamodules", "leaderboards", "methods", "metrics")


class Registry(SphinxDirective):
    """The directive `{registry} TABLE [NAME]`: a table of `tables.TABLES`, made when the page is built."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the parsed table.

        Raises:
            ExtensionError: There is no such table.
        """
        table, *names = self.arguments
        if table not in TABLES:
            raise self.error(f"there is no table {table!r}; known are: {', '.join(TABLES)}.")
        return self.parse_text_to_nodes(TABLES[table](*names), allow_section_headings=True)


def visit_math(translator: HTML5Translator, node: nodes.math) -> None:
    """Write an inline formula."""
    translator.body.append(_mathml(node, block=False))
    raise nodes.SkipNode


def visit_math_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula of its own lines."""
    translator.body.append(f'<div class="formula">{_mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def skip_member(app: Sphinx, what: str, name: str, item: object, skip: bool, options: object) -> bool | None:
    """Leave out what a module imports from elsewhere, and fields of named tuples, which their class describes."""
    del app, name, skip, options
    owner = str(getattr(item, "__module__", None) or "").partition(".")[0]
    foreign = what == "module" and owner and owner not in PACKAGES
    return True if foreign or isinstance(item, FIELD) else None


def plain_text(app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]) -> None:
    """Escape the bars of absolute values in docstrings, which reStructuredText takes for substitutions."""
    del app, what, name, item, options
    for number, line in enumerate(lines):
        parts = line.split("`")
        lines[number] = "`".join(part if code else part.replace("|", r"\|") for part, code in zip(parts, cycle((0, 1))))


def resolve_annotations(app: Sphinx) -> None:
    """Let annotations name the classes they mean, wherever they are read.

    Carries out the imports that modules make for their annotations only, and gives constructors of named tuples, whose
    annotations are plain texts, those of their class.
    """
    del app
    for module in _modules():
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), vars(module))
    for kind in {item for module in _modules() for item in vars(module).values() if isinstance(item, type)}:
        if issubclass(kind, tuple) and kind.__module__.startswith(PACKAGES):
            kind.__new__.__annotations__ = get_type_hints(kind)


def _modules() -> list[ModuleType]:
    packages = [importlib.import_module(name) for name in PACKAGES]
    found = [
        item.name for package in packages for item in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    return packages + [importlib.import_module(name) for name in found if not name.endswith(".__main__")]


def _mathml(node: nodes.Element, *, block: bool) -> str:
    try:
        return tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        raise ExtensionError(f"{node.source}:{node.line}: {node.astext()!r} is no formula: {error}") from error


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register them with Sphinx."""
    app.add_directive("registry", Registry)
    app.connect("builder-inited", resolve_annotations)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", plain_text)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
