"""Who may read and write what the node keeps: its own user, and nobody else of the machine.

Patient data, the journal and keys lie there, and whoever can write there decides what is sent to the PACS. A storage folder that others can
write to is refused: what lies in it may not be ours. One that others can only look into is closed, as older versions and installers left it
open. Everything that is written is private by the umask that the command line sets.
"""

from __future__ import annotations

import stat
from pathlib import Path

from node.errors import BetzError
from node.log import log
from node.settings import Settings


def secure(folder: Path) -> None:
    """Close the storage folder to others; BetzError where they could write there before."""
    check_not_shared(folder)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        try:
            folder.chmod(mode & 0o700)
        except OSError as error:
            raise BetzError(f"Others of this machine can look into the storage folder {folder}, and that cannot be changed by this user "
                            f"({error.strerror}); run as its owner: chmod 700 {folder}") from None
        log("storage_closed", folder=folder, reason=f"others of this machine could look into it (mode {mode:04o})")


def check_not_shared(folder: Path) -> None:
    """BetzError where others than its owner may write to the storage folder."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022:
        raise BetzError(f"Others of this machine can write to the storage folder {folder} (mode {mode:04o}), so what lies there cannot be "
                        f"trusted. Look at what it holds, then run: chmod 700 {folder}; or name a folder within it under [storage] folder.")


def told(settings: Settings) -> None:
    """The log hears at start what `betz check` would say."""
    try:
        check_permissions(settings)
    except (BetzError, OSError) as error:
        log("permissions_wrong", reason=str(error))


def check_permissions(settings: Settings) -> str:
    """That everything is private; BetzError with all that is not."""
    wrong, folder = [], settings.storage.folder
    if not folder.is_dir():
        raise BetzError(f"permissions: the storage folder {folder} is not there")
    try:
        check_not_shared(folder)
    except BetzError as error:
        wrong.append(str(error))
    wrong += [f"others can read {path}; run: chmod go= {path}" for path in _private(settings) if _mode(path) & 0o077 and not wrong]
    wrong += [f"others can write to {path}, which decides who may send and where results go; run: chmod go-w {path}"
              for path in (settings.source,) if path and _mode(path) & 0o022]
    if wrong:
        raise BetzError(f"permissions: {'; '.join(wrong)}")
    return f"permissions: only this user can read {folder}"


def _private(settings: Settings) -> list[Path]:
    return [settings.storage.folder, *([settings.audit.key] if settings.audit.key else [])]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
