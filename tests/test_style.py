"""The style of the five packages, measured: size of functions and modules, docstrings, annotations."""

import ast
import io
import re
import statistics
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("benchmark", "datamodules", "leaderboards", "methods", "metrics")
PLUGIN_FOLDERS = {"datamodules", "methods", "metrics"}  # one file per dataset, method and metric
ROOMS = 14
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/install.md", "docs/private-data.md")
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the packages, by its path in the repository."""
    paths = chain.from_iterable(sorted((REPOSITORY / package).rglob("*.py")) for package in PACKAGES)
    return {path.relative_to(REPOSITORY).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def functions() -> Iterator[tuple[str, Function]]:
    """Every function and method, nested ones included, with the place where it is."""
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{path}:{node.lineno} {node.name}", node


def docstring_lines(node: Documented) -> set[int]:
    """The lines that the docstring of a module, class or function takes."""
    first = node.body[0] if node.body else None
    if first is None or ast.get_docstring(node, clean=False) is None:
        return set()
    return set(range(first.lineno, (first.end_lineno or first.lineno) + 1))


@cache
def code_lines(path: str) -> set[int]:
    """The lines of a module that hold code: no blank lines, comments or docstrings."""
    tokens = tokenize.generate_tokens(io.StringIO((REPOSITORY / path).read_text(encoding="utf-8")).readline)
    code = {line for t in tokens if t.type not in NO_CODE for line in range(t.start[0], t.end[0] + 1)}
    documented = (node for node in ast.walk(modules()[path]) if isinstance(node, Documented))
    return code.difference(*map(docstring_lines, documented))


def function_sizes() -> dict[str, int]:
    """Code lines of every function, from its ``def`` to its end, functions inside it included."""
    return {
        place: len(code_lines(place.split(":")[0]).intersection(range(node.lineno, (node.end_lineno or 0) + 1)))
        for place, node in functions()
    }


def public_definitions(path: str, node: Documented) -> Iterator[tuple[str, Documented]]:
    """A module or class and everything public in it; functions inside functions are nobody's interface."""
    yield f"{path}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', '')}", node
    if isinstance(node, Function):
        return
    for child in node.body:
        if isinstance(child, ast.ClassDef | Function) and not child.name.startswith("_"):
            yield from public_definitions(path, child)


def restates_nothing(node: Documented) -> bool:
    """Whether a member overrides one that is documented where it is declared."""
    decorators = node.decorator_list if isinstance(node, Function) else []
    return any(isinstance(decorator, ast.Name) and decorator.id == "override" for decorator in decorators)


def unannotated(node: Function) -> list[str]:
    """The parameters without an annotation, and ``return`` where the result has none."""
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    missing = [a.arg for a in named if a and a.annotation is None and a.arg not in {"self", "cls"}]
    return missing + ["return"] * (node.returns is None)


def set_apart(tree: ast.Module) -> Iterator[ast.AST]:
    """What is no text of its own: docstrings, annotations and literal types, and the parts of formatted strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield from node.values
        elif isinstance(node, ast.Subscript):
            yield from ast.walk(node.slice)
        else:
            parts = (getattr(node, "annotation", None), getattr(node, "returns", None))
            yield from chain.from_iterable(ast.walk(part) for part in parts if isinstance(part, ast.AST))


def strings(path: str) -> set[str]:
    """The texts of two words or more that stand whole in a module."""
    left_out = {id(node) for node in set_apart(modules()[path])}
    constants = (n.value for n in ast.walk(modules()[path]) if isinstance(n, ast.Constant) and id(n) not in left_out)
    return {text for text in constants if isinstance(text, str) and re.search(r"[A-Za-z]{2,} +[A-Za-z]{2,}", text)}


def literal_types() -> set[str]:
    """The values of all ``Literal`` types: the type checker knows them wherever they stand."""
    nodes = chain.from_iterable(ast.walk(tree) for tree in modules().values())
    types = (n for n in nodes if isinstance(n, ast.Subscript) and ast.unparse(n.value).endswith("Literal"))
    return {n.value for t in types for n in ast.walk(t.slice) if isinstance(n, ast.Constant)}


def named_paths(document: str) -> Iterator[str]:
    """The files, folders and modules of the repository that a document names between backticks."""
    packages = "|".join(PACKAGES)
    for text in re.findall(r"`([^`\s]+)`", (REPOSITORY / document).read_text(encoding="utf-8")):
        if re.fullmatch(rf"(?:{packages}|docs|tests|requirements)/[\w./-]*", text):
            if "my_" not in text:  # a reader's own file
                yield text
        elif re.fullmatch(rf"(?:{packages})(?:\.\w+)+", text):
            yield text.replace(".", "/")


def is_there(path: str) -> bool:
    """Whether a path is a file, folder or module, or the last part of it is a name defined in one."""
    place = REPOSITORY / path
    if place.exists() or place.with_suffix(".py").is_file():
        return True
    module = place.parent.with_suffix(".py")
    module = module if module.is_file() else place.parent / "__init__.py"
    names = rf"^(?:def|class) {place.name}\b|^{place.name}\b"
    return module.is_file() and re.search(names, module.read_text(encoding="utf-8"), re.MULTILINE) is not None


def test_no_function_has_more_than_fifty_code_lines() -> None:
    assert {place: size for place, size in function_sizes().items() if size > 50} == {}


def test_half_of_the_functions_have_at_most_ten_code_lines() -> None:
    assert statistics.median(function_sizes().values()) <= 10


def test_nine_functions_in_ten_have_at_most_thirty_code_lines() -> None:
    assert np.percentile(list(function_sizes().values()), 90) <= 30


def test_every_module_has_fewer_than_four_hundred_lines() -> None:
    lengths = {path: len((REPOSITORY / path).read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert {path: length for path, length in lengths.items() if length >= 400} == {}


def test_everything_public_has_a_docstring() -> None:
    public = chain.from_iterable(public_definitions(path, tree) for path, tree in modules().items())
    assert [place for place, node in public if not (ast.get_docstring(node) or restates_nothing(node))] == []


def test_every_parameter_and_result_is_annotated() -> None:
    missing = {place: unannotated(node) for place, node in functions()}
    assert {place: names for place, names in missing.items() if names} == {}


def test_the_measure_leaves_out_docstrings_comments_and_blank_lines() -> None:
    path = "metrics/__init__.py"
    source = (REPOSITORY / path).read_text(encoding="utf-8").splitlines()
    counted = {source[line - 1].strip() for line in code_lines(path)}
    assert "" not in counted
    assert not any(line.startswith(("#", '"""')) for line in counted)


def test_no_folder_has_more_modules_than_a_reader_can_survey() -> None:
    folders = Counter(path.rsplit("/", 1)[0] for path in modules() if not path.endswith("/__init__.py"))
    assert {folder: n for folder, n in folders.items() if n > ROOMS and folder not in PLUGIN_FOLDERS} == {}


def test_no_text_stands_in_two_modules() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    checked = literal_types()
    for path in modules():
        for text in strings(path) - checked:
            where[text].append(path)
    assert {text: paths for text, paths in where.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_the_documents_name_is_there(document: str) -> None:
    assert [path for path in named_paths(document) if not is_there(path)] == []


def test_a_path_that_is_not_there_is_noticed() -> None:
    assert is_there("metrics/cobb_angle/cobb_angles")
    assert is_there("benchmark/cell.py")
    assert not is_there("metrics/cobb_angle/no_such_function")
    assert not is_there("metrics/no_such_module")


def test_no_class_name_means_two_things() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(path)
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}
