"""What the landmarks of a dataset are called and how they belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LandmarkSchema:
    """The landmarks of a dataset, by name; it validates itself.

    Args:
        names: One name per landmark, in the order of the annotation files.
        groups: Structure (a vertebra, say) to the names of its landmarks, in anatomical order; may be empty.
        flips: Pairs of names that trade places when a film is mirrored; a name in no pair keeps its own.
        edges: Pairs of names joined by a line in pictures.
        normalizer: The two landmarks whose true distance normalises the NME, if the dataset has such a pair.
        structure: What a group is called in words: a vertebra, say.

    Raises:
        ValueError: A name stands twice, or a group, flip, edge or normaliser uses a name that is not in `names`.

    Example:
        >>> schema = LandmarkSchema(("tip", "left", "right"), flips=(("left", "right"),))
        >>> len(schema), schema.flip_index
        (3, (0, 2, 1))
    """

    names: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flips: tuple[tuple[str, str], ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    normalizer: tuple[str, str] | None = None
    structure: str = field(default="structure", repr=False)  # a word for pages: it changes no score

    def __post_init__(self) -> None:
        """Check every rule that `Raises` names."""
        _refuse_repeats("landmark names", self.names)
        _refuse_repeats("flips", [name for pair in self.flips for name in pair])
        used = {
            "groups": [name for members in self.groups.values() for name in members],
            "flips": [name for pair in self.flips for name in pair],
            "edges": [name for pair in self.edges for name in pair],
            "normalizer": list(self.normalizer or ()),
        }
        for where, names in used.items():
            unknown = sorted(set(names) - set(self.names))
            if unknown:
                raise ValueError(f"{where} name landmarks that the schema does not have: {', '.join(unknown)}.")

    def __len__(self) -> int:
        """Return the number of landmarks."""
        return len(self.names)

    def index(self, names: Iterable[str]) -> tuple[int, ...]:
        """Return the positions of `names` in the landmark order.

        Raises:
            ValueError: A name is not a landmark of this schema.
        """
        return tuple(self.names.index(name) for name in names)

    @property
    def group_index(self) -> dict[str, tuple[int, ...]]:
        """Each group's landmark positions."""
        return {group: self.index(members) for group, members in self.groups.items()}

    @property
    def flip_index(self) -> tuple[int, ...]:
        """For each landmark, the position whose point it takes in a mirrored film (an involution)."""
        partner = {a: b for pair in self.flips for a, b in (pair, pair[::-1])}
        return self.index(partner.get(name, name) for name in self.names)

    @property
    def normalizer_index(self) -> tuple[int, int] | None:
        """The positions of the normaliser's two landmarks."""
        if self.normalizer is None:
            return None
        first, second = self.index(self.normalizer)
        return first, second


def _refuse_repeats(what: str, names: Iterable[str]) -> None:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(f"{what} must not repeat, but these do: {', '.join(repeated)}.")
