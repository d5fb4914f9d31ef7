"""A disk whose power is cut: what was not synced is lost, as SQLite's tests do it.

Inside `PowerCuts`, every call that changes a folder, and every fsync, is a moment at which the power may be cut. Two
disks are kept for each: "nothing" keeps no byte and no name that was not synced; "names" writes names at once and bytes
at fsync only, as file systems may, so that a renamed file can be empty.
"""

import os
from pathlib import Path

CHANGES = ("rename", "replace", "unlink", "rmdir", "mkdir")


class PowerCuts:
    """A context that records the disks which cuts would leave of a folder; each distinct one once, in `disks`."""

    def __init__(self, root):
        # (kind, tree) -> the moment; a tree: ((path, bytes, or None for a folder), ...)
        self.root, self.disks = Path(root), {}
        self.bytes, self.names, self.held, self.moment = {}, {}, [], 0

    def __enter__(self):
        self.real = {name: getattr(os, name) for name in (*CHANGES, "fsync")}
        self.names[self.key(os.stat(self.root))] = self.listing(self.root)
        os.fsync = self.fsync
        for name in CHANGES:
            setattr(os, name, self.changing(name))
        return self

    def __exit__(self, *error):
        for name, call in self.real.items():
            setattr(os, name, call)
        for handle in self.held:
            os.close(handle)

    def changing(self, name):
        def call(*arguments, **options):
            self.real[name](*arguments, **options)
            self.cut()
        return call

    def fsync(self, handle):
        self.cut()
        self.real["fsync"](handle)
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if path.is_relative_to(self.root):
            key = self.key(os.fstat(handle))
            self.held.append(os.dup(handle))  # while it is open, no other file gets its number
            if path.is_dir():
                self.names[key] = self.listing(path)
            else:
                self.bytes[key] = path.read_bytes()
        self.cut()

    def cut(self):
        self.moment += 1
        for kind, tree in (("nothing", self.synced("", self.key(os.stat(self.root)))), ("names", self.named())):
            self.disks.setdefault((kind, tuple(sorted(tree))), self.moment)

    def synced(self, at, key):
        """What is left where nothing unsynced is."""
        for name, (is_folder, inner) in self.names.get(key, {}).items():
            path = f"{at}/{name}" if at else name
            yield path, None if is_folder else self.bytes.get(inner, b"")
            if is_folder:
                yield from self.synced(path, inner)

    def named(self):
        """What is left where all names are written, and only synced bytes."""
        for path in self.root.rglob("*"):
            yield (str(path.relative_to(self.root)),
                   None if path.is_dir() else self.bytes.get(self.key(os.stat(path)), b""))

    @staticmethod
    def key(stat):
        return stat.st_dev, stat.st_ino

    def listing(self, folder):
        return {entry.name: (entry.is_dir(), self.key(os.stat(entry))) for entry in os.scandir(folder)}


def restore(tree, folder):
    """Write a disk that a cut has left into an empty folder."""
    for path, content in tree:
        if content is None:
            Path(folder, path).mkdir(parents=True)
        else:
            Path(folder, path).write_bytes(content)
