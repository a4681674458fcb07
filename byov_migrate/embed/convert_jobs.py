"""What runs behind the walls: weights out of a pickle, vectors of a directory."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from byov_migrate.config import ModelConfig
from byov_migrate.embed.library import first_line, load_model_as_it_is, require_libraries
from byov_migrate.errors import MigrationError

if TYPE_CHECKING:
    import torch
