"""Where recordings lie, and what engines said in them. Used by `recordings` and by the game day."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).resolve().parents[2] / "tests" / "recordings"
ENGINES: Final = FOLDER / "engines"


def engine(name: str) -> Mapping[str, Any]:
    """What Serve said of an engine: its application, as KubeRay copies it into the status of a RayService."""
    recorded = yaml.safe_load((ENGINES / f"{name}.yaml").read_text(encoding="utf-8"))
    (application,) = recorded["applicationStatuses"].values()
    return dict(application)
