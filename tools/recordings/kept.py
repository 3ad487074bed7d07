"""Where recordings lie, and what engines said in them. Used by `recordings` and by the game day."""

from pathlib import Path
from typing import Final

import yaml

FOLDER: Final = Path(__file__).resolve().parents[2] / "tests" / "recordings"
ENGINES: Final = FOLDER / "engines"


def said(name: str) -> str:
    """What Serve said of an engine: of its deployment, if Serve told it there, else of the application."""
    recorded = yaml.safe_load((ENGINES / f"{name}.yaml").read_text(encoding="utf-8"))
    (application,) = recorded["applicationStatuses"].values()
    deployments = (one["message"] for one in application["serveDeploymentStatuses"].values())
    return next((message for message in deployments if message), str(application["message"]))
