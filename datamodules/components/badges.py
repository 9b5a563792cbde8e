"""Badges that runs carry and other code acts on."""

from __future__ import annotations

from typing import Final

PHANTOM: Final = "phantom films"
"""Of runs on drawn films, which are never compared with real ones."""
ORACLE_CROP: Final = "oracle crop"
"""Of runs whose network input was cropped by the true landmarks."""
PRIVATE: Final = "private data"
"""Of runs on films that may not be shown; their predictions are not published."""
OF_RUNS: Final = (PHANTOM, ORACLE_CROP, PRIVATE)
"""What a run's record knows of the run itself; its other badges are its protocol's caveats as they were then."""
