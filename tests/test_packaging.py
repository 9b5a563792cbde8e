"""What the project declares fits what it does: dependencies, pins, Makefile targets and the torchvision cure."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

import torchvision  # noqa: F401  (the cure is looked at after its work is done)
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("benchmark", "datamodules", "leaderboards", "methods", "metrics")
EXTRAS = ("export", "ray", "slurm", "weights")
"""What the packages can do only where an extra is installed."""


def project() -> dict[str, Any]:
    """The ``[project]`` table of ``pyproject.toml``."""
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared(extra: str = "") -> dict[str, Requirement]:
    """The declared dependencies, or those of an extra, by their canonical names."""
    lines = project()["optional-dependencies"][extra] if extra else project()["dependencies"]
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def imported() -> set[str]:
    """The distributions that the five packages import, by their canonical names."""
    paths = (path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    names |= {str(call.args[0].value) for call in nodes if _looks_up(call)}
    modules = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - set(PACKAGES)
    providers = packages_distributions()
    return {canonicalize_name(distribution) for module in modules for distribution in providers[module]}


def _looks_up(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether a node is `importlib.util.find_spec("...")`: whoever uses a distribution's files needs it, too."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "find_spec":
        return False
    return bool(node.args) and isinstance(node.args[0], ast.Constant)


def cure() -> ModuleType:
    """The module that ``make install`` copies into a CPU environment, loaded anew."""
    spec = importlib.util.spec_from_file_location("cure", REPOSITORY / "requirements" / "osteomark_torchvision.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_imported_distribution_is_declared_and_every_declared_one_imported() -> None:
    needed, found = set(declared()), imported()
    optional = {name for extra in EXTRAS for name in declared(extra)}
    assert needed - found == set()
    assert found - needed - optional == set()
    assert needed & optional == set()


def test_development_installs_every_extra_that_the_tests_use() -> None:
    (own,) = (line for line in declared("dev").values() if line.name == project()["name"])
    assert own.extras == {"export", "ray", "slurm"}


def test_the_cpu_pins_lie_within_the_declared_bounds() -> None:
    lines = (REPOSITORY / "requirements" / "cpu.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins.keys() == {"torch", "torchvision"}
    assert all(declared()[name].specifier.contains(version) for name, version in pins.items())


def test_every_bound_says_why() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    bounds = [line for line in text.splitlines() if re.match(r'\s+"[\w-]+(\[\w+\])?[<>=]', line)]
    assert len(bounds) > 20
    assert [line for line in bounds if not re.search(r'",\s+# \S+ \S+', line)] == []


def test_make_help_has_one_line_for_each_target() -> None:
    printed = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^  make (\w+) +\S", printed, flags=re.MULTILINE)
    expected = "benchmark docs faults fuzz help install leaderboard lint published scale site smoke test type"
    assert sorted(targets) == expected.split()


def test_starting_python_imports_neither_torch_nor_torchvision() -> None:
    program = "import sys; print({'torch', 'torchvision'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"


def test_the_cure_defines_nothing_where_torchvision_has_its_operators() -> None:
    module = cure()
    hooks = [finder for finder in sys.meta_path if type(finder).__name__ == "SchemaHook"]
    module.define_missing_schemas()
    assert module.SchemaHook.library is None
    assert hooks == []
