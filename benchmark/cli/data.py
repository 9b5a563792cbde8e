"""The commands below `osteomark data`: what a dataset's folder holds, and what can be made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.console import console, print_json

if TYPE_CHECKING:
    from datamodules.audit.leaks import Audit, Finding


def check(name: str, *, root: Path | None = None, reveal: bool = False, json: bool = False) -> int:
    """Say what a dataset folder holds, what is missing and how to get it, and which labels are odd.

    The exit code is 2 where a file is missing or unreadable, most films are odd, or nothing can be trained and tested.

    Args:
        name: Of the dataset, or the file of a card.
        root: Its folder, or the folder that holds it; a card says it itself.
        reveal: Show the names, paths and errors of a private set, and which case has which hash.
        json: Print one JSON object.
    """
    from datamodules import is_card
    from datamodules.audit.check import check
    from datamodules.base import DataError
    from datamodules.components.cards.card import Card

    if reveal and is_card(name):
        Card.load(Path(name), reveal=True)  # so that what is wrong with the card is named
    name, dataset_class, folder = _dataset(name, root)
    if dataset_class.home is None and not folder.is_dir():
        title = dataset_class.title
        raise DataError(f"there is no folder {root}; pass --root the folder of {title}, or the one that holds it.")
    if reveal and dataset_class.private:
        return _reveal(dataset_class, folder)
    report = check(dataset_class, folder)
    code = 0 if report.sound else 2
    if json:
        facts = {"dataset": name, **report.facts, "absent": report.absent, "report": report.text.splitlines()}
        return print_json(facts) or code
    console.print(report.text, markup=False)
    return code


def preview(
    name: str,
    *,
    root: Path | None = None,
    protocol: str = "",
    cases: int = 12,
    reveal: bool = False,
    out: Path | None = None,
) -> int:
    """Write a page of films with their landmarks, names and numbers drawn on, for this machine only.

    Args:
        name: Of the dataset, or the file of a card.
        root: Its folder, or the folder that holds it; a card says it itself.
        protocol: Whose truth is drawn; the first one if not given.
        cases: How many films: odd ones first, the others spread over the set.
        reveal: Show the names of a private set's films and landmarks, too.
        out: Folder for the page; one below data/preview if not given. It holds films: keep it where they may be.
    """
    from benchmark.dataset_folders import DATA
    from datamodules.audit.preview import write_preview

    name, dataset_class, folder = _dataset(name, root)
    shown = _revealed(dataset_class) if reveal and dataset_class.private else dataset_class
    data = shown(folder, protocol, allow_missing=True)
    page = write_preview(data, out or DATA / "preview" / name, cases, private=dataset_class.private)
    note = " It holds films of a private set: keep it on this machine." if dataset_class.private else ""
    console.print(f"{page}{note}", markup=False)
    return 0


def audit(
    name: str, *, root: Path | None = None, protocol: str = "", out: Path | None = None, json: bool = False
) -> int:
    """Find films that a dataset holds twice, and films of one patient that it takes for two patients'.

    Labels are not looked at. The pairs are written as `pairs.csv` and, with pictures, as `index.html`.

    Args:
        name: Of the dataset, or the file of a card.
        root: Its folder, or the folder that holds it; a card says it itself.
        protocol: Whose training and test sets are named; the first one if not given.
        out: Folder for the pairs; one below data/audit if not given. It holds films: keep it where they may be.
        json: Print one JSON object.
    """
    from benchmark.dataset_folders import DATA
    from datamodules.audit.leaks import find_duplicates
    from datamodules.audit.page import write_audit

    name, dataset_class, folder = _dataset(name, root)
    result = find_duplicates(dataset_class(folder, protocol, allow_missing=True))
    pages = out or DATA / "audit" / f"{name}-{result.protocol}"
    write_audit(name, result, pages)
    if json:
        content = {"dataset": name, "protocol": result.protocol, "films": result.films, "unreadable": result.unreadable}
        content["pairs"] = [finding.facts for finding in result.findings]
        return print_json(content)
    for finding in result.findings:
        console.print(_line(finding), markup=False)
    for line in _summary(name, result):
        console.print(line, markup=False)
    console.print(f"  {pages / 'index.html'}\n  {pages / 'pairs.csv'}", markup=False)
    return 0


def phantom(names: Sequence[str] = (), *, root: Path, scale: int = 1) -> int:
    """Write phantom datasets, in the datasets' true layouts.

    Args:
        names: Of datasets; all of them if none is given.
        root: Folder for their folders.
        scale: How many times the usual number of films to draw, for studies with more power.
    """
    from benchmark import dataset_folders
    from benchmark.lookup import choose
    from datamodules import discover

    known = discover()
    for name in [choose(name, known, "dataset") for name in names] or known:
        console.print(f"{name}: {dataset_folders.write_phantom(name, known[name], root, scale)}")
    return 0


def readers(
    name: str,
    *,
    root: Path | None = None,
    store: Path = Path("runs"),
    protocols: Sequence[str] = (),
    allow_missing: bool = False,
) -> int:
    """Store what a dataset's readers marked as runs, so that leaderboards show how far they are from each other.

    Args:
        name: Of a dataset that several readers labelled, or the file of a card.
        root: Its folder, or the folder that holds it; a card says it itself.
        store: Folder of the runs.
        protocols: Only under these protocols; under all whose truth is not the reader's own if none is given.
        allow_missing: Go on without the cases whose files are missing or unreadable.
    """
    from benchmark.dataset_folders import CACHE
    from benchmark.scoring.readers import write_readers

    name, dataset_class, folder = _dataset(name, root)
    for record in write_readers(name, dataset_class, folder, store, protocols, CACHE, allow_missing=allow_missing):
        print(record.folder)
    print(f"next: osteomark leaderboard --store {store}")
    return 0


def new_card(folder: Path, *, out: Path | None = None) -> int:
    """Look at a folder of films and labels and write a first card, to correct and complete.

    Args:
        folder: With images and their labels.
        out: The card; card.yaml in the folder if not given.
    """
    from datamodules.components.cards.new_card import write_card

    path = out or folder / "card.yaml"
    for line in write_card(folder, path):
        console.print(line, markup=False)
    console.print(f"{path}\nnext: read it, then osteomark data check {path}", markup=False)
    return 0


def _dataset(name: str, root: Path | None) -> tuple[str, Any, Path]:
    """Return a dataset's name, its class and its folder."""
    from benchmark import dataset_folders
    from benchmark.lookup import choose
    from datamodules import DatasetRegistry

    known = DatasetRegistry()
    chosen = choose(known.name_of(name), known, "dataset")
    return chosen, known[chosen], dataset_folders.find(chosen, known[chosen], root)


def _revealed(dataset_class: Any) -> Any:  # noqa: ANN401
    """Return a private card's dataset in clear text, for its owner's eyes."""
    from dataclasses import replace

    from datamodules.private import dataset_of

    return dataset_of(replace(dataset_class.card, private=False))


def _reveal(dataset_class: Any, folder: Path) -> int:  # noqa: ANN401
    """Print what a private set holds in clear text, for its owner's eyes."""
    from datamodules.audit.check import check

    report = check(_revealed(dataset_class), folder)
    console.print(report.text, markup=False)
    if report.usable:
        console.print("\nCases as they are shown elsewhere:")
        for shown, film in dataset_class(folder, allow_missing=True).own_names().items():
            console.print(f"  {shown}: {film}", markup=False)
    return 0 if report.sound else 2


def _line(finding: Finding) -> str:
    marks = ("leak, " if finding.leak else "") + ("known" if finding.known else "new")
    films = f"{finding.first} ({finding.first_part}) = {finding.second} ({finding.second_part})"
    return f"{finding.kind}: {films}, correlation {finding.correlation:.3f}, {marks}"


def _summary(name: str, result: Audit) -> Iterator[str]:
    """Yield how many pairs there are between which parts."""
    yield f"{name}, {result.protocol}: {result.films} films compared, {len(result.findings)} pairs"
    if result.unreadable:
        yield f"  films missing or unreadable, left out: {result.unreadable}"
    between = {finding: _between(finding) for finding in result.findings}
    new = Counter(group for finding, group in between.items() if not finding.known)
    for (what, parts), count in Counter(between.values()).items():
        yield f"  {what}, {parts}: {count}, of them new: {new[what, parts]}"


def _between(finding: Finding) -> tuple[str, str]:
    """Return what is the same, and the part or the two parts of the split that it is in."""
    return finding.what, " - ".join(dict.fromkeys((finding.first_part, finding.second_part)))
