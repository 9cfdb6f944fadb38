"""What the kernel knows of the directory: node ids, their names, and the descriptors that are open for them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from itertools import islice
from typing import Final

from safekit_resource_rfs.exclusion import Exclusion
from safekit_resource_rfs.fuse.protocol import ROOT_ID
from safekit_resource_rfs.syscalls import DirectoryEntry

MAX_NODES: Final = 200_000
"""Known to the kernel; when there are more it is asked to forget some."""
MAX_OPEN: Final = 1024
"""Descriptors kept open for nodes that have a name."""


class Node:
    """A file of any kind. Without a parent it has no name that is known: it is unlinked, or its other links were never
    looked up."""

    __slots__ = (
        "fd",
        "id",
        "inode",
        "is_astray",
        "is_dirty",
        "is_excluded",
        "is_recent",
        "kind",
        "links",
        "lookups",
        "name",
        "parent",
        "slot",
    )

    def __init__(self, node_id: int, inode: int, kind: int) -> None:
        self.id = node_id
        self.inode = inode
        self.kind = kind
        """The type bits of its mode."""
        self.parent: Directory | None = None
        self.name = b""
        self.links: set[tuple[Directory, bytes]] | None = None
        """Names beside parent and name, of hard links."""
        self.lookups = 0
        self.fd = -1
        self.is_recent = False
        """Its descriptor was used since the last look for one to close."""
        self.slot = 0
        self.is_astray = False
        """It has names, but none that is known."""
        self.is_excluded = False
        """None of its names is replicated."""
        self.is_dirty = False
        """Its time of modification is to be recorded."""

    @property
    def is_regular(self) -> bool:
        return self.kind == stat.S_IFREG


class Directory(Node):
    __slots__ = ("children", "handle", "listing", "path", "path_epoch")

    def __init__(self, node_id: int, inode: int) -> None:
        super().__init__(node_id, inode, stat.S_IFDIR)
        self.children: dict[bytes, Node] = {}
        self.handle = b""
        self.path: bytes | None = None
        self.path_epoch = -1
        """Of the tree, when the path was right."""
        self.listing: tuple[int, list[DirectoryEntry]] | None = None
        """What was read of the real directory and not yet asked for, and the offset it begins at."""


class Tree:
    """Not for several threads. Ids are never used twice."""

    def __init__(self, root_fd: int, first_id: int, exclusion: Exclusion, max_nodes: int = MAX_NODES) -> None:
        status = os.fstat(root_fd)
        self.device = status.st_dev
        self.exclusion = exclusion
        self.max_nodes = max_nodes
        self.root = Directory(ROOT_ID, status.st_ino)
        self.root.lookups = 1
        self.root.fd = root_fd
        self.nodes: dict[int, Node] = {ROOT_ID: self.root}
        self.next_id = first_id
        self._inodes: dict[int, Node] = {status.st_ino: self.root}
        self._open: dict[Node, None] = {}
        """Nodes with a descriptor that may be closed, oldest first."""
        self._epoch = 0

    def find(self, node_id: int) -> Node:
        node = self.nodes.get(node_id)
        if node is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return node

    def directory(self, node_id: int) -> Directory:
        node = self.find(node_id)
        if not isinstance(node, Directory):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return node

    # Names

    def look_up(self, parent: Directory, name: bytes, status: os.stat_result) -> Node:
        """The node of what stands there, counted once more as known to the kernel."""
        node = self._inodes.get(status.st_ino)
        if node is None or node.kind != stat.S_IFMT(status.st_mode):
            node = self._make(status)
        if parent.children.get(name) is not node:
            self.detach(parent, name)
            if node.parent is not None and (status.st_nlink == 1 or isinstance(node, Directory)):
                self.detach(node.parent, node.name)  # renamed behind the mount
            self.attach(node, parent, name)
        node.lookups += 1
        return node

    def _make(self, status: os.stat_result) -> Node:
        kind = stat.S_IFMT(status.st_mode)
        is_directory = kind == stat.S_IFDIR
        node = Directory(self.next_id, status.st_ino) if is_directory else Node(self.next_id, status.st_ino, kind)
        self.next_id += 1
        self.nodes[node.id] = node
        self._inodes[node.inode] = node
        return node

    def is_current(self, node: Node) -> bool:
        """Whether a lookup of its inode finds it."""
        return self._inodes.get(node.inode) is node

    def adopt_node(self, node_id: int, inode: int, kind: int, *, is_current: bool) -> Node:
        """One that the kernel knows from an earlier program; its names follow."""
        node = Directory(node_id, inode) if kind == stat.S_IFDIR else Node(node_id, inode, kind)
        self.nodes[node_id] = node
        if is_current:
            self._inodes[inode] = node
        return node

    def attach(self, node: Node, parent: Directory, name: bytes) -> None:
        parent.children[name] = node
        if node.parent is None:
            node.parent, node.name, node.is_astray = parent, name, False
            self._epoch += isinstance(node, Directory)
            node.is_excluded = self._excludes(parent, name)
        else:
            node.links = node.links or set()
            node.links.add((parent, name))
            if node.is_excluded and not self._excludes(parent, name):
                self._prefer(node, parent, name)

    def _excludes(self, parent: Directory, name: bytes) -> bool:
        if not self.exclusion:
            return False
        path = self._directory_path(parent)
        return bool(path is not None and self.exclusion.holds(path + b"/" + name if path else name))

    @staticmethod
    def _prefer(node: Node, parent: Directory, name: bytes) -> None:
        """Call it by a name that is replicated."""
        assert node.parent is not None
        assert node.links is not None
        node.links.discard((parent, name))
        node.links.add((node.parent, node.name))
        node.parent, node.name, node.is_excluded = parent, name, False

    def detach(self, parent: Directory, name: bytes) -> Node | None:
        """The name is gone. What had it and is not known to the kernel either is forgotten."""
        node = parent.children.pop(name, None)
        if node is None:
            return None
        if node.parent is parent and node.name == name:
            node.parent, node.name = None, b""
            self._epoch += isinstance(node, Directory)
            for link in sorted(node.links or (), key=lambda link: self._excludes(*link))[:1]:
                node.links = (node.links or set()) - {link}
                node.parent, node.name = link
                node.is_excluded = self._excludes(*link)
        elif node.links:
            node.links.discard((parent, name))
        return node

    def path(self, node: Node) -> bytes | None:
        """One of its names, relative to the root; None: it has none."""
        if isinstance(node, Directory):
            return self._directory_path(node)
        if node.parent is None:
            return None
        parent = self._directory_path(node.parent)
        return None if parent is None else parent + b"/" + node.name if parent else node.name

    def _directory_path(self, node: Directory) -> bytes | None:
        chain: list[Directory] = []
        current: Directory | None = node
        while current is not None and current.path_epoch != self._epoch:
            chain.append(current)
            current = current.parent
        path = b"" if current is None else current.path
        for directory in reversed(chain):
            if directory is self.root:
                path = b""
            elif directory.parent is None or path is None:
                path = None
            else:
                path = path + b"/" + directory.name if path else directory.name
            directory.path, directory.path_epoch = path, self._epoch
        return path

    # What the kernel forgets

    def forget(self, node_id: int, lookups: int) -> Node | None:
        """The node when it is now unused, to be dropped; it can still have something to be recorded."""
        node = self.nodes.get(node_id)
        if node is None or node is self.root:
            return None
        node.lookups -= lookups
        return node if self.is_unused(node) else None

    @staticmethod
    def is_unused(node: Node) -> bool:
        return node.lookups <= 0 and not node.is_dirty and not (isinstance(node, Directory) and node.children)

    def drop(self, node: Node) -> Iterator[Node]:
        """Remove an unused node, and those above it that are unused thereby: these are yielded."""
        waiting = [node]
        while waiting:
            node = waiting.pop()
            if self.nodes.pop(node.id, None) is None:
                continue
            if self._inodes.get(node.inode) is node:
                del self._inodes[node.inode]
            self.close(node)
            yield node
            while node.parent is not None:
                parent = node.parent
                self.detach(parent, node.name)
                if parent is not self.root and self.is_unused(parent):
                    waiting.append(parent)

    def oldest(self, count: int) -> list[int]:
        """Ids of nodes that have been known for long; the same ones come last the next time."""
        found = list(islice(self.nodes, 1, count + 1))
        for node_id in found:
            self.nodes[node_id] = self.nodes.pop(node_id)
        return found

    # Descriptors

    def open(self, node: Node) -> int:
        """A descriptor for a regular file's data, or a directory's names; kept, and closed when others need it."""
        if node.fd >= 0:
            node.is_recent = True
            return node.fd
        chain = [node]
        while (parent := chain[-1].parent) is not None and parent.fd < 0:
            chain.append(parent)
        if parent is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        parent.is_recent = True
        fd = parent.fd
        for link in reversed(chain):
            fd = open_node(fd, link.name, link.kind)
            self.adopt(link, fd)
        return fd

    def adopt(self, node: Node, fd: int) -> None:
        """Keep this descriptor for the node."""
        if len(self._open) >= MAX_OPEN:
            self._close_oldest()
        node.fd = fd
        node.is_recent = True
        self._open[node] = None

    def pin(self, node: Node) -> None:
        """The node is about to lose its name: keep it open until the kernel forgets it."""
        if node.fd < 0 and node.parent is not None:
            node.fd = open_node(self.open(node.parent), node.name, node.kind)
        self._open.pop(node, None)

    def unpin(self, node: Node) -> None:
        """It has a name again."""
        if node.fd >= 0 and node is not self.root:
            self._open[node] = None

    def close(self, node: Node) -> None:
        if node.fd >= 0 and node is not self.root:
            os.close(node.fd)
            node.fd = -1
        self._open.pop(node, None)

    def _close_oldest(self) -> None:
        while True:
            node = next(iter(self._open))
            if not node.is_recent:
                self.close(node)
                return
            node.is_recent = False
            del self._open[node]
            self._open[node] = None

    def close_all(self) -> None:
        for node in self.nodes.values():
            self.close(node)


def open_node(directory_fd: int, name: bytes, kind: int) -> int:
    """For data, for names, or for attributes only, as its kind allows. Reading leaves no trace in its atime."""
    if kind == stat.S_IFDIR:
        flags = os.O_RDONLY | os.O_DIRECTORY
    elif kind == stat.S_IFREG:
        flags = os.O_RDWR | os.O_NOATIME
    else:
        flags = os.O_PATH
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(name, flags, dir_fd=directory_fd)
    except OSError as error:
        if kind != stat.S_IFREG or error.errno not in (errno.EPERM, errno.EROFS, errno.ETXTBSY):
            raise
        return os.open(name, flags & ~os.O_RDWR, dir_fd=directory_fd)  # an immutable file can be read
