"""The disk under the storage folder: whether anything can be kept there now.

It is asked by writing, as a disk may be full for this user only, or have turned read-only under a running node.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

REFUSED = os.EX_IOERR  # exit status of an analysis over which the disk refused
_TRIAL_BYTES = 2**18
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


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


def refusal(error: BaseException | None) -> str:
    """What the disk said, where an error came from one that is full, read-only or broken; else ""."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            return os.strerror(error.errno)
        error = error.__cause__ or error.__context__
    return ""
