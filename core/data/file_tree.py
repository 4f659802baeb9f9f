"""The files below a folder, each real one once, whatever links lead to it."""

from __future__ import annotations

import os
from collections.abc import Sequence

LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"})
"""Names, in small letters, of what systems leave behind in folders."""


class FileTree:
    """The visible files below a folder: no hidden ones, and none that systems leave behind.

    Each real folder is entered once: a link to a folder that is entered elsewhere, or that lies around the tree, is not
    followed.

    Args:
        root: the folder.

    Attributes:
        files: their posix paths relative to the folder; within each folder sorted, files before folders. Links that
            lead nowhere are among them.
        not_followed: links to folders that are not followed.
        unreadable: folders that cannot be listed, with the reason.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.files: list[str] = []
        self.not_followed: list[str] = []
        self.unreadable: dict[str, str] = {}
        self._real = os.path.realpath(root)
        self._targets: dict[str, str] = {}
        self._entered: set[str] = set()
        self._enter(os.fspath(root), self._real, "")

    def _enter(self, path: str, real: str, within: str) -> None:
        self._entered.add(real)
        try:
            with os.scandir(path) as listed:
                entries = sorted(filter(_is_visible, listed), key=lambda entry: entry.name)
        except OSError as error:
            self.unreadable[within.rstrip("/") or path] = error.strerror or str(error)
            return
        folders = []
        is_within_root = real == os.path.normpath(os.path.join(self._real, within))
        for entry in entries:
            name = f"{within}{entry.name}"
            target = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)
            if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                folders.append((entry, name, target))
                continue
            self.files.append(name)
            if entry.is_symlink() or not is_within_root:
                self._targets[name] = target
        for entry, name, target in folders:
            if target in self._entered or (entry.is_symlink() and self._is_entered_elsewhere(target)):
                self.not_followed.append(name)
            else:
                self._enter(entry.path, target, f"{name}/")

    def _is_entered_elsewhere(self, target: str) -> bool:
        """Whether a folder lies around the tree, or is a visible one in it."""
        if self._real == target or self._real.startswith(target.rstrip(os.sep) + os.sep):
            return True
        inner = os.path.relpath(target, self._real).split(os.sep)
        return inner[0] != os.pardir and not any(map(_is_passed_over, inner))

    def each_once(self, files: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return files of the tree without links to others of them, and those links; of links alone the first stays."""
        kept: list[str] = []
        links: list[str] = []
        read = {os.path.join(self._real, *file.split("/")) for file in files if file not in self._targets}
        for file in files:
            target = self._targets.get(file)
            (kept if target is None or target not in read else links).append(file)
            if target is not None:
                read.add(target)
        return kept, links


def _is_visible(entry: os.DirEntry[str]) -> bool:
    return not _is_passed_over(entry.name)


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER
