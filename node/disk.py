"""The disk under the storage folder: whether anything can be kept there now.

It is asked by writing, as a disk may be full for this user only, or have turned read-only under a running node.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_TRIAL_BYTES = 2**18


def trouble(folder: Path, minimum_free_bytes: int = 0) -> str:
    """Why nothing can be kept in the folder now; "" where it can be."""
    try:
        if shutil.disk_usage(folder).free < minimum_free_bytes:
            return "the free space is below the minimum"
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"the disk refuses: {error.strerror or error}"
    return ""
