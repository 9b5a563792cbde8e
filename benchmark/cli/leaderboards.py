"""The commands around a store's results: score, leaderboard with its packs, and site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.cell import On
from benchmark.cli.console import console


def score(*, store: Path = Path("runs"), plugin: Sequence[Path] = (), on: On = "test") -> int:
    """Score every finished run from its stored predictions; new metrics are filled in for old runs.

    Args:
        store: Folder of the runs.
        plugin: Python files with methods of your own.
        on: The films that are scored.
    """
    from benchmark.scoring.score import score

    console.print(f"scores: {score(store, plugin, on)}")
    return 0


def leaderboard(
    *,
    store: Path = Path("runs"),
    out: Path | None = None,
    plugin: Sequence[Path] = (),
    publish: bool = False,
    add_to: Path | None = None,
    on: On = "test",
) -> int:
    """Score the finished runs, write their leaderboards and show them.

    Args:
        store: Folder of the runs.
        out: Folder for the leaderboards; if not given, `leaderboards` in the store, or `leaderboards-validation`.
        plugin: Python files with methods of your own.
        publish: Write beside the tables what a published folder needs: predicted points, scores of films and summed
            errors, without the films' labels.
        add_to: Folder of published leaderboards to which the store's rows are added; each takes the place of the
            published row of the same variant.
        on: The films on which runs are ranked: "validation" to choose settings, with no test film looked at.
    """
    from benchmark.predictions import SCORED
    from benchmark.store import STRESS
    from leaderboards.add_rows import add_rows
    from leaderboards.build import read_leaderboards, rewrite_published, write_leaderboards
    from leaderboards.publish import publish as write_publication
    from leaderboards.robustness.page import write_stress
    from leaderboards.text.terminal import show

    if (publish or add_to) and on != "test":
        raise ValueError("points and scores of test films are published; leave out --on validation.")
    score(store=store, plugin=plugin, on=on)
    folder = out or store / SCORED[on].boards
    content = read_leaderboards(store, on=on)
    show(content, write_leaderboards(content, folder))
    if on == "test" and (store / STRESS).is_file():
        write_stress(store, folder)
    if publish:
        write_publication(store, content.boards, folder)
    if add_to:
        written = [*add_rows(store, content.boards, add_to), *rewrite_published(add_to)]
        if (add_to / STRESS).is_file():
            written += write_stress(add_to, add_to)
        console.print(f"{len(written)} files of {add_to} written anew", markup=False)
    return 0


def submit(run_dir: Path, *, out: Path | None = None, with_truth: bool = False, allow_dirty: bool = False) -> int:
    """Pack a finished run so that someone else can verify its scores; runs on private data are refused.

    The labels of the films stay out of the pack, with their spacing and sizes: most datasets do not let them be passed
    on, and who verifies takes them from the dataset itself.

    Args:
        run_dir: The run's folder in its store.
        out: The pack; named by the run, where you are, if not given.
        with_truth: Add the labels, for readers without the dataset; only where its owner allows.
        allow_dirty: Pack a run on code that no commit holds, too; the pack shows it.
    """
    from benchmark.packs.pack import read_pack, sha256
    from benchmark.packs.submit import pack_run
    from benchmark.store import write_atomically

    content = pack_run(run_dir, with_truth=with_truth, allow_dirty=allow_dirty)
    path = out or Path("-".join(run_dir.absolute().parts[-5:]) + ".zip")
    write_atomically(path, lambda file: file.write_bytes(content))
    pack = read_pack(path)
    scores = sum(len(columns) for columns in pack.manifest["scores"].values())
    console.print(
        f"{path}: {scores} scores claimed, {len(content) / 1e6:.2f} MB, SHA-256 {sha256(content)}", markup=False
    )
    console.print(f"next: osteomark leaderboard verify {path} --data-root FOLDER", markup=False)
    return 0


def verify(
    pack: Path,
    *,
    data_root: Path | None = None,
    store: Path | None = None,
    card: Sequence[Path] = (),
    plugin: Sequence[Path] = (),
) -> int:
    """Recompute every score of a pack from its predictions; the exit code is 2 where anything differs.

    Args:
        pack: The zip file that `submit` wrote.
        data_root: Folder with the datasets' folders, whose labels are the truth.
        store: A run store of your own, to take the truth from a run on the same films instead.
        card: Files of cards, where one describes the dataset.
        plugin: Python files with methods of your own.
    """
    from benchmark.packs.verify import UNPROVEN, verify

    found = verify(pack, data_root, store, plugin, card)
    for test_set, columns in found.scores.items():
        first = next((f"{name} {value:.6g}" for name, value in columns.items() if value is not None), "no score")
        console.print(f"{test_set}: {found.cases[test_set]} cases, {first}", markup=False)
    console.print(
        f"{found.run}: {found.claimed} claimed scores recomputed with the truth of {found.source}", markup=False
    )
    for remark in (*found.remarks, UNPROVEN):
        console.print(remark, markup=False)
    console.print(f"{pack} is verified.", markup=False)
    return 0


def site(
    *, store: Path = Path("runs"), out: Path = Path("site"), data_root: Path | None = None, published: bool = False
) -> int:
    """Write the leaderboards of a scored store as a static site that opens from its index.html.

    Args:
        store: Folder of the runs, gone over by `osteomark score`.
        out: Folder for the site.
        data_root: Folder with the datasets' folders: thumbnails of their films are shown. Without it only phantoms are.
        published: Show the published results of real films that come with Osteomark; needs no store and no film.
    """
    from benchmark.thumbnails import Thumbnails
    from leaderboards import PUBLISHED
    from leaderboards.site.build import build_published_site, build_site

    if published and data_root is not None:
        raise ValueError("--published shows no film; leave out --data-root.")
    if data_root is not None and not data_root.is_dir():
        raise FileNotFoundError(f"--data-root {data_root} is no folder; name the one that holds the datasets' folders.")
    written = (
        build_published_site(PUBLISHED, out) if published else build_site(store, out, Thumbnails(store, data_root))
    )
    console.print(f"site: {written[0]}")
    return 0
