"""Writing so that neither a crash nor a power cut leaves half of anything.

A disk may keep a file's new name and lose its bytes, or the other way round, until both were synced. So every write of
a run goes through `commit`: write beside, flush, fsync, rename, fsync the folder. What is written later may rely on it.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError


def commit(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file or a folder beside `target`, and move it there once it is on the disk.

    Where `target` is a folder already, the new files are moved into it, each whole, and its other files stay. OSError,
    with the path: it cannot be written, as where the disk is full.
    """
    part = target.with_name(f".{target.name}.part")
    with naming(target):
        make_folder(target.parent)
        remove(part)
        try:
            write(part)
            for path in [*part.rglob("*"), part]:
                sync(path)
            if part.is_dir() and target.is_dir():
                for path in part.iterdir():
                    path.replace(target / path.name)
                sync(target)
            else:
                part.replace(target)
                sync(target.parent)
        finally:
            with contextlib.suppress(OSError):
                remove(part)


def copied(source: Path, target: Path) -> None:
    """Copy a file or a folder, which can be written whether or not its source can be."""
    if source.is_dir():
        for path in source.iterdir():
            copied(path, target / path.name)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def make_folder(folder: Path) -> None:
    """Make a folder, and its parents, so that they are still there after a power cut."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder, and needs no such call
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems sync no folders
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the disk that does not name its file is raised with this path; one of safetensors as an OSError."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from None
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
