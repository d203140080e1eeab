"""Files that are written whole or not at all."""

import os
import sys
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes, *, mode: int) -> None:
    """Put a whole file in the place of the old one, with the owner and the mode of the old one if there is one.

    Args:
        path: No link; what it names is replaced.
        data: All that shall stand in it.
        mode: The permissions of a file that was not there.

    Raises:
        OSError: It cannot be written; then what was there is still there.
    """
    number, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(number)
        _let_look_alike(beside, path, mode)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _let_look_alike(new: Path, old: Path, mode: int) -> None:
    if old.exists():
        before, now = old.stat(), new.stat()
        mode = before.st_mode & 0o777
        if sys.platform != "win32" and (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            os.chown(new, before.st_uid, before.st_gid)
    new.chmod(mode)
