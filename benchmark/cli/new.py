"""The commands for who writes a method: `osteomark new method` and `osteomark check-method`."""

from __future__ import annotations

from pathlib import Path

from benchmark.cli.console import console

TEMPLATE = Path(__file__).parent / "templates" / "method.txt"


def new_method(name: str, *, out: Path = Path()) -> int:
    """Write NAME.py, a small method that passes the contract's checks, to start your own from.

    Args:
        name: Of the method: a Python name in lower case.
        out: Folder for the file; `methods` of a checkout makes it one of the package's.
    """
    from benchmark.catalogue import list_plugins

    stem = name.replace("-", "_")
    if not stem.isidentifier() or stem != stem.lower():
        raise ValueError(f"{name!r} cannot name a Python file; use lower-case letters, digits and `_`.")
    path = out / f"{stem}.py"
    if path.exists():
        raise ValueError(f"{path} is there already; choose another name or delete it.")
    if any(stem in entry["variants"] for entry in list_plugins("methods")):
        raise ValueError(f"there is a method {stem!r} already; choose another name.")
    title = "".join(part.capitalize() for part in stem.split("_"))
    text = TEMPLATE.read_text().replace("TEMPLATE_NAME", stem).replace("TemplateName", title)
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    console.print(f"{path}\nnext: osteomark check-method {path}", markup=False)
    return 0


def check_method(file: Path, *, dataset: str = "", card: str = "") -> int:
    """Check the methods of a file as the package's own are tested; the exit code is 1 where one fails.

    Args:
        file: Python file with methods of your own.
        dataset: Name of a dataset, for its landmarks; three vertebrae of four corners if not given.
        card: File of a card, for its landmarks instead.
    """
    from benchmark.contract.results import check_results
    from benchmark.contract.tiny_films import SCHEMA
    from benchmark.lookup import choose, methods_of_file
    from datamodules import DatasetRegistry

    datasets = DatasetRegistry()
    name = datasets.name_of(card) if card else dataset and choose(dataset, datasets, "dataset")
    schema = datasets[name].schema if name else SCHEMA
    counts = {"pass": 0, "fail": 0, "skip": 0}
    for method_class in methods_of_file(file):
        console.print(f"{method_class.__name__}: {', '.join(method_class.variants)}", markup=False)
        for result in check_results(method_class, schema):
            counts[result.status] += 1
            reason = f": {result.reason}" if result.reason else ""
            console.print(f"  {result.status.upper()}  {result.check}{reason}", markup=False)
    console.print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    return 1 if counts["fail"] else 0
