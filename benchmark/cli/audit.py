"""The command `osteomark data audit`: films that occur twice, within and across the parts of a split."""

from __future__ import annotations

import json as to_json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.commands import added, console

if TYPE_CHECKING:
    from datamodules.audit.repeats import Audit, Finding


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
    from benchmark import dataset_folders as data
    from datamodules.audit.page import write_audit
    from datamodules.audit.repeats import find_duplicates

    name, kind, folder = _dataset(name, root)
    found = find_duplicates(kind(folder, protocol, allow_missing=True))
    place = out or data.DATA / "audit" / f"{name}-{found.protocol}"
    write_audit(name, found, place)
    if json:
        content = {"dataset": name, "protocol": found.protocol, "films": found.films, "unreadable": found.unreadable}
        content["pairs"] = [finding.facts for finding in found.findings]
        sys.stdout.write(to_json.dumps(content, indent=2) + "\n")
        return 0
    for finding in found.findings:
        console.print(_line(finding), markup=False)
    for line in _summary(name, found):
        console.print(line, markup=False)
    console.print(f"  {place / 'index.html'}\n  {place / 'pairs.csv'}", markup=False)
    return 0


def _dataset(name: str, root: Path | None) -> tuple[str, Any, Path]:
    """Return a dataset's name, its class and its folder."""
    import datamodules
    from benchmark import dataset_folders as data
    from benchmark.lookup import choose

    name, known = added(name), datamodules.discover()
    chosen = choose(name, known, "dataset")
    return chosen, known[chosen], data.find(chosen, known[chosen], root)


def _line(finding: Finding) -> str:
    marks = ("leak, " if finding.leak else "") + ("known" if finding.known else "new")
    films = f"{finding.first} ({finding.first_part}) = {finding.second} ({finding.second_part})"
    return f"{finding.kind}: {films}, correlation {finding.correlation:.3f}, {marks}"


def _summary(name: str, found: Audit) -> Iterator[str]:
    """Yield how many pairs there are between which parts."""
    yield f"{name}, {found.protocol}: {found.films} films compared, {len(found.findings)} pairs"
    if found.unreadable:
        yield f"  films missing or unreadable, left out: {found.unreadable}"
    between = {finding: _between(finding) for finding in found.findings}
    new = Counter(group for finding, group in between.items() if not finding.known)
    for (what, parts), count in Counter(between.values()).items():
        yield f"  {what}, {parts}: {count}, of them new: {new[what, parts]}"


def _between(finding: Finding) -> tuple[str, str]:
    """Return what is the same, and the part or the two parts of the split that it is in."""
    return finding.what, " - ".join(dict.fromkeys((finding.first_part, finding.second_part)))
