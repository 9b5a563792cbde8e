"""Nothing that a store, a pack or a card holds is run: no pickles, no YAML that makes objects."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.matrix import Matrix
from datamodules import DatasetRegistry
from tests.test_style import modules

UNPICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
HARMLESS = {f"joblib.{name}" for name in ("Parallel", "cpu_count", "delayed", "parallel_config")}
"""Parts of these that read no file."""
FORBIDDEN = {"full_load", "load_all", "read_pickle", "unsafe_load", "unsafe_load_all"}
SAFE = {  # a function that unpickles unless it is told otherwise -> what it must be told
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "trainer.fit": ("weights_only", True),
    "load_from_checkpoint": ("weights_only", True),
}


def unsafe(tree: ast.AST) -> Iterator[str]:
    """What in a module could run what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS:
            names = {f"{node.module}.{name.name}" for name in node.names}
            yield from sorted(names - HARMLESS)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if node.func.attr in FORBIDDEN or name == "yaml.load":
                yield name
            for safe, (word, value) in SAFE.items():
                if name.endswith(safe) and given.get(word) != str(value):
                    yield name


def test_nothing_in_the_packages_unpickles_or_makes_objects_of_yaml() -> None:
    assert {path: found for path, tree in modules().items() if (found := list(unsafe(tree)))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "pd.read_pickle(path)",
        "self.trainer.fit(method, ckpt_path=path)",
        "Net.load_from_checkpoint(path)",
    ],
)
def test_what_would_run_code_is_noticed(source: str) -> None:
    assert list(unsafe(ast.parse(source)))


def test_a_matrix_that_runs_code_is_refused(tmp_path: Path) -> None:
    mark, matrix = tmp_path / "ran", tmp_path / "matrix.yaml"
    matrix.write_text(f"seeds: !!python/object/apply:os.system ['touch {mark}']\n")
    with pytest.raises(ValueError, match="is not YAML"):
        Matrix.load(matrix, DatasetRegistry())
    assert not mark.exists()
