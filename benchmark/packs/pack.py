"""Packs: one run in a zip file, so that someone else can recompute its scores from its predictions.

| file | |
|---|---|
| `pack.json` | the run's key, the claimed scores, SHA-256 of every other file and of the weights |
| `pack.schema.json` | JSON schema of `pack.json` and `run.json` |
| `run.json` | as in the store: configuration, versions, commit, machine, times |
| `predictions.csv` | the predicted points of every test case, with their covariances, in original pixels |
| `validation.csv` | the same of the cases that validate, which conformal regions are fitted on |
| `history.csv` | the learning curves |
| `truth.csv` | only with `--with-truth`: labels, spacing and film sizes |

The labels stay out: most datasets do not let them be passed on, and whoever verifies must not take the truth from the
one who claims the scores anyway. So it is read from the dataset itself; labels in a pack, where the dataset's owner
allows them, serve readers who have no copy: they are compared with the dataset's, never believed.

Text instead of parquet: its bytes do not depend on a library's version, and reading a stranger's file runs no decoder.
Nothing is ever unpacked to disk under a name that a pack chooses.
"""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from benchmark.predictions import KEY
from benchmark.store import RUN, RunRecord

FORMAT = "osteomark-pack-1"
MANIFEST = "pack.json"
SCHEMA = "pack.schema.json"
PREDICTIONS, VALIDATION, HISTORY, TRUTH = (f"{name}.csv" for name in ("predictions", "validation", "history", "truth"))
FILES = (MANIFEST, SCHEMA, RUN, PREDICTIONS, VALIDATION, HISTORY, TRUTH)
"""All that a pack may hold, in this order."""
LARGEST = 128 * 2**20
"""Bytes of a pack's largest file, unpacked; a thousand films of a hundred points take about ten million."""
EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)
SCHEMA_SOURCE = Path(__file__).with_name("pack.schema.yaml")


class Pack(NamedTuple):
    """A pack whose files are what its manifest says; what they claim is not checked yet.

    Attributes:
        manifest: The content of `pack.json`.
        record: The content of `run.json`.
        config: The hash of the configuration as `run.json` states it.
        files: Name to bytes.
    """

    manifest: Mapping[str, Any]
    record: RunRecord
    config: str
    files: Mapping[str, bytes]


def pack_bytes(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """Write a pack; the same content gives the same bytes.

    Args:
        manifest: The content of `pack.json` without `format` and `files`.
        files: Name to bytes of the others; the schema is added.
    """
    files = {**files, SCHEMA: _json(schema())}
    hashes = {name: sha256(files[name]) for name in FILES if name in files}
    files[MANIFEST] = _json({"format": FORMAT, **manifest, "files": hashes})
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in (name for name in FILES if name in files):
            member = zipfile.ZipInfo(name, EPOCH_OF_ZIP)
            member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16  # the same on every system
            archive.writestr(member, files[name], zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()


def read_pack(path: Path) -> Pack:
    """Read a pack from anyone.

    Args:
        path: The zip file.

    Raises:
        ValueError: It is no pack, holds what a pack does not hold, or its files are not those that its manifest hashes.
        FileNotFoundError: There is no such file.
    """
    if path.suffix == ".parquet" and path.is_file():
        raise ValueError(
            f"{path} is a table of points, no pack; `osteomark leaderboard verify` takes the zip file of "
            "`osteomark leaderboard submit`, which the points were published from."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            files = dict(_members(path, archive))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is not a sound zip file ({error}); ask for the pack again.") from error
    for name in (MANIFEST, RUN):
        if name not in files:
            raise ValueError(f"{path} holds no {name}, so it is no pack; `osteomark leaderboard submit` makes one.")
    manifest = _valid(f"{path}: {MANIFEST}", files[MANIFEST], schema())
    hashed, found = manifest["files"], {name: sha256(content) for name, content in files.items() if name != MANIFEST}
    if hashed.keys() != found.keys():
        name = min(hashed.keys() ^ found.keys())
        raise ValueError(f"{path}: {name} is {'missing' if name in hashed else 'not named in ' + MANIFEST}.")
    for name, expected in hashed.items():
        if found[name] != expected:
            raise ValueError(
                f"{path}: {name} was changed after packing; its SHA-256 should be {expected[:12]}..., not "
                f"{found[name][:12]}..."
            )
    run = _valid(f"{path}: {RUN}", files[RUN], schema()["$defs"]["run"] | {"$defs": schema()["$defs"]})
    return Pack(manifest, _record(files[RUN]), run["cell"]["config"], files)


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def write_table(frame: pd.DataFrame, values: tuple[str, ...]) -> bytes:
    r"""Write the key and some columns of a stored table; a column that it lacks is unknown (empty).

    Example:
        >>> frame = pd.DataFrame({"test_set": ["test"], "case": ["a"], "landmark": ["sella"], "x": [0.1], "y": [2.0]})
        >>> write_table(frame, ("x", "y", "cov_xx"))
        b'test_set,case,landmark,x,y,cov_xx\ntest,a,sella,0.1,2.0,\n'
    """
    table = frame.reindex(columns=[*KEY, *values])
    table = table.astype(dict.fromkeys(values, np.float64))  # widened, so that the shortest text is exact
    return table.to_csv(index=False, lineterminator="\n").encode()


def read_table(pack: str, content: bytes, values: tuple[str, ...], optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read what `write_table` wrote, number for number.

    Args:
        pack: What to call the file in errors.
        content: Its bytes.
        values: The columns after the key.
        optional: Those of them that an older pack may lack; they are unknown there.

    Returns:
        The values by test set, case and landmark, sorted.

    Raises:
        ValueError: The text is no such table, or names a landmark of a case twice.
    """
    try:
        table = pd.read_csv(BytesIO(content), dtype="str", keep_default_na=False)
        for column in table.columns.intersection(list(values)):
            numbers = table[column].to_numpy(object)
            table[column] = np.where(numbers == "", "nan", numbers).astype(np.float64)  # exact, by Python's float
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{pack} is no table of points ({_first_line(error)}).") from error
    expected = [name for name in (*KEY, *values) if name in table.columns or name not in optional]
    if list(table.columns) != expected:
        raise ValueError(f"{pack} should have the columns {', '.join(expected)}, not {', '.join(table.columns)}.")
    twice = table[table.duplicated(list(KEY))]
    if len(twice):
        test_set, case, landmark = twice.iloc[0][list(KEY)]
        raise ValueError(f"{pack} has {landmark} of case {case} of {test_set} twice; every point is answered once.")
    return table.set_index(list(KEY)).sort_index().reindex(columns=list(values))


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of `pack.json`, with that of `run.json` in its definitions."""
    return dict(yaml.safe_load(SCHEMA_SOURCE.read_text(encoding="utf-8")))


def _members(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """Read the files of an archive into memory, none that a pack does not hold and none that is too large."""
    seen: set[str] = set()
    for member in archive.infolist():
        mode = member.external_attr >> 16
        if member.filename not in FILES:
            raise ValueError(f"{path} holds {member.filename!r}; a pack holds nothing but {', '.join(FILES)}.")
        if member.filename in seen:
            raise ValueError(f"{path} holds {member.filename} twice.")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise ValueError(f"{path}: {member.filename} is a link or another special file; a pack holds plain files.")
        seen.add(member.filename)
        with archive.open(member) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(
                f"{path}: {member.filename} unpacks to more than {LARGEST // 2**20} MB; no run is so large."
            )
        yield member.filename, content


def _valid(name: str, content: bytes, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Read JSON that fits a schema."""
    try:
        found = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON ({_first_line(error)}).") from error
    problem = best_match(Draft202012Validator(expected).iter_errors(found))
    if problem is not None:
        place = "/".join(map(str, problem.absolute_path)) or "the whole"
        raise ValueError(f"{name} does not fit the schema of a pack: {place}: {problem.message[:200]}.")
    return dict(found)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _record(content: bytes) -> RunRecord:
    with TemporaryDirectory() as folder:
        path = Path(folder) / RUN
        path.write_bytes(content)
        return RunRecord.read(path)


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
