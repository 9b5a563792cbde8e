"""The commands below `osteomark new`."""

from __future__ import annotations

from pathlib import Path

from benchmark.cli.console import console

TEMPLATE = Path(__file__).parent / "templates" / "method.txt"


def new_method(name: str) -> int:
    """Write methods/NAME.py, a small method that passes the contract tests, to start your own from.

    Args:
        name: Of the method: a Python name in lower case.
    """
    import methods

    stem = name.replace("-", "_")
    if not stem.isidentifier() or stem != stem.lower():
        raise ValueError(f"{name!r} cannot name a Python file; use lower-case letters, digits and `_`.")
    path = Path(methods.__path__[0]) / f"{stem}.py"
    title = "".join(part.capitalize() for part in stem.split("_"))
    text = TEMPLATE.read_text().replace("TEMPLATE_NAME", stem).replace("TemplateName", title)
    if path.exists():
        raise ValueError(f"{path} is there already; choose another name or delete it.")
    path.write_text(text)
    console.print(f"{path}\nnext: pytest tests/methods -k {stem}")
    return 0
