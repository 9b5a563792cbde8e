"""A schema's structures and the bodies between end plates."""

from __future__ import annotations

import torch

from methods.components.structures.vertebrae import frames, spine_structures
from tests.methods.spines import LUMBAR, NECK, SPINE


def test_structures_are_vertebrae_and_smaller_groups_with_networks_of_their_own() -> None:
    lumbar, neck = spine_structures(LUMBAR), spine_structures(NECK)
    assert [kind.positions for kind in lumbar.classes] == [(0, 1, 2, 3, 4), (5,)]
    assert lumbar.hosts == (0, 1, 2, 3, 4, 4)
    assert [kind.plates for kind in lumbar.classes] == [((0, 1), (2, 3)), ((0, 1),)]
    assert [kind.positions for kind in neck.classes] == [(1, 2, 3), (0,), (4,)]
    assert (neck.hosts, neck.chained) == ((0, 0, 1, 2, 2), 4)
    assert len(spine_structures(SPINE).classes) == 1


def test_a_frame_is_the_body_between_the_end_plates_or_the_bounding_box() -> None:
    corners = torch.tensor([[[1.0, 2.0], [9.0, 4.0], [0.0, 8.0], [8.0, 10.0], [30.0, 7.0]]])
    body = frames(corners, ((0, 1), (2, 3)))
    assert [field[0].tolist() for field in body] == [[4.5, 6.0], [8.0, 2.0], [-1.0, 6.0]]
    box = frames(corners, ())
    assert [field[0].tolist() for field in box] == [[15.0, 6.0], [30.0, 0.0], [0.0, 8.0]]
