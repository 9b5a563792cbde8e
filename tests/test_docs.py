"""The documentation and the project's files say what the code says."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import datamodules
import methods
import metrics
from benchmark.cli.arguments import build_parser
from benchmark.cli.main import COMMANDS

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def tables() -> Iterator[dict[str, str]]:
    """Every generated table that needs no further name."""
    sys.path.insert(0, str(REPOSITORY / "docs" / "extensions"))
    try:
        from tables import TABLES
    finally:
        sys.path.pop(0)
    yield {name: table() for name, table in TABLES.items() if name != "columns"}


def command_lines() -> list[tuple[str, str]]:
    """Every line of a code block that starts `osteomark`, continued lines joined, with its page."""
    found = []
    for page in PAGES:
        for block in re.findall(
            r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        ):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(page.name, line) for line in lines if re.match(r"(\.venv/bin/)?osteomark ", line)]
    return found


def citation() -> dict[str, object]:
    """What CITATION.cff says."""
    return yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_tables_hold_every_method_with_all_its_variants(tables: dict[str, str]) -> None:
    found = methods.discover()
    assert [name for name in found if f"(#method-{name})" not in tables["methods"]] == []
    variants = [variant for kind in found.values() for variant in kind.variants]
    assert [variant for variant in variants if f"| `{variant}` |" not in tables["method-sections"]] == []


def test_the_tables_hold_every_dataset_and_protocol_with_its_leaks(tables: dict[str, str]) -> None:
    for name, data in datamodules.discover().items():
        assert f"(#dataset-{name})" in tables["datasets"]
        assert f"## `{name}`" in tables["dataset-sections"]
        for protocol in data.protocols:
            row = next(line for line in tables["protocols"].splitlines() if f"| `{name}` | `{protocol.name}` |" in line)
            assert f"| {protocol.leaks or 'none known'} |" in row


def test_the_page_of_metrics_has_a_formula_and_the_columns_of_every_metric(tables: dict[str, str]) -> None:
    page = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^\(metric-(\w+)\)=\n(.*?)(?=^\(metric-|\Z)", page, flags=re.DOTALL | re.MULTILINE))
    assert sorted(sections) == sorted(metrics.discover())
    assert [name for name, text in sections.items() if f"{{registry}} columns {name}\n" not in text] == []
    assert [name for name in sections if f"(#metric-{name})" not in tables["metrics"]] == []


def test_every_command_line_that_is_shown_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    parser, refused = build_parser(COMMANDS, prog="osteomark"), []
    lines = command_lines()
    assert len(lines) > 20
    for page, line in lines:
        try:
            parser.parse_args(shlex.split(line, comments=True)[1:])
        except SystemExit as end:
            refused += [(page, line, capsys.readouterr().err)] if end.code else []
    assert refused == []


def test_the_citation_names_this_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = citation()
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])


def test_the_hooks_before_a_commit_are_the_commands_of_make() -> None:
    asked = ["make", "--dry-run", "--no-print-directory", "--old-file=.venv/installed", "lint", "type"]
    commands = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert [hook["entry"].removeprefix("env ") for hook in hooks] == commands


@pytest.mark.parametrize("path", sorted((REPOSITORY / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_the_files_for_the_code_host_are_yaml_with_actions_of_a_major_version(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    assert [
        action for action in re.findall(r"uses: (\S+)", text) if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action)
    ] == []


@pytest.mark.slow
def test_the_python_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    script = tmp_path / "page.py"
    script.write_text("import warnings\nwarnings.simplefilter('ignore')\n" + "\n".join(blocks), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "16 films;" in done.stdout
