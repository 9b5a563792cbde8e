"""Predictions that may be published: what methods answered on real films, without the films' labels."""

from __future__ import annotations

from pathlib import Path

from benchmark.predictions import POINT, PREDICTIONS, PUBLISHED, read_table
from benchmark.store import RunStore, write_atomically
from datamodules.components.badges import PRIVATE


def publish_predictions(store: Path | str, out: Path | str) -> list[Path]:
    """Write every finished run's predicted points, in original pixels, without truth, spacing or film size.

    Runs on private data are left out: where a good method puts its points is nearly the label. What people marked is
    left out, too: it is the label.

    Whoever has the dataset can recompute every score from them; whoever has not learns no label.

    Args:
        store: A run store.
        out: The folder to write below: `<dataset>/<protocol>/<split>/<variant>-seed<k>-<hash>.parquet`.

    Returns:
        The written files.
    """
    paths = []
    for run in RunStore(store).runs():
        if run.status != "done" or run.human or PRIVATE in run.badges:
            continue
        cell = run.cell
        folder = Path(out) / cell.dataset / cell.protocol / cell.split
        path = folder / f"{cell.variant}-{run.folder.name}.parquet"
        points = read_table(run.folder / PREDICTIONS, PUBLISHED).astype(dict.fromkeys(POINT, "float32"))
        write_atomically(path, lambda file, points=points: points.to_parquet(file, index=False))  # type: ignore[misc]
        paths.append(path)
    return paths
