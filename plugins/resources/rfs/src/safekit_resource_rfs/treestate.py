"""The kernel's node ids with their names, for another program that answers for them."""

from __future__ import annotations

from typing import Final

from safekit_resource_rfs.exclusion import Exclusion
from safekit_resource_rfs.fuse.protocol import ROOT_ID
from safekit_resource_rfs.handover import Row, TreeState
from safekit_resource_rfs.tree import Directory, Node, Tree
from safekit_sdk import ConfigError

_ASTRAY: Final = 1
_EXCLUDED: Final = 2
_CURRENT: Final = 4
"""It is the node that its inode means."""


def take(tree: Tree, absent: set[bytes]) -> TreeState:
    """Nothing of it is due to be recorded. Descriptors of files that have a name are opened anew."""
    rows = [_row(tree, node) for node in tree.nodes.values() if node is not tree.root]
    return TreeState(
        next_id=tree.next_id, root_lookups=tree.root.lookups, rows=rows, absent=[text(name) for name in absent]
    )


def _row(tree: Tree, node: Node) -> Row:
    flags = _ASTRAY * node.is_astray | _EXCLUDED * node.is_excluded | _CURRENT * tree.is_current(node)
    parent_id = node.parent.id if node.parent is not None else 0
    links = tuple((parent.id, text(name)) for parent, name in node.links or ())
    fd = node.fd if node.parent is None else -1
    return (node.id, node.inode, node.kind, parent_id, text(node.name), node.lookups, flags, fd, links)


def give(root_fd: int, exclusion: Exclusion, max_nodes: int, state: TreeState) -> Tree:
    """ConfigError when the rows do not fit together."""
    tree = Tree(root_fd, state.next_id, exclusion, max_nodes)
    tree.root.lookups = state.root_lookups
    for number, inode, kind, _, _, lookups, flags, fd, _ in state.rows:
        node = tree.adopt_node(number, inode, kind, is_current=bool(flags & _CURRENT))
        node.lookups, node.fd = lookups, fd
        node.is_astray, node.is_excluded = bool(flags & _ASTRAY), bool(flags & _EXCLUDED)
    for number, _, _, parent_id, name, _, _, _, links in state.rows:
        node = tree.nodes[number]
        if parent_id:
            parent = _directory(tree, parent_id)
            node.parent, node.name = parent, raw(name)
            parent.children[node.name] = node
        node.links = {(_directory(tree, other), raw(link)) for other, link in links} or None
        for other, link in node.links or ():
            other.children[link] = node
    return tree


def check(state: TreeState) -> None:
    """ConfigError when the rows do not fit together."""
    known = {row[0] for row in state.rows} | {ROOT_ID}
    for row in state.rows:
        above = {row[3], *(other for other, _ in row[8])} - {0}
        if not above <= known:
            raise ConfigError(f"the state cannot be read: the file {row[0]} lies in a directory that is not there")


def _directory(tree: Tree, number: int) -> Directory:
    node = tree.nodes.get(number)
    if not isinstance(node, Directory):
        raise ConfigError(f"the state cannot be read: {number} is not a directory")
    return node


def text(name: bytes) -> str:
    return name.decode("latin-1")


def raw(name: str) -> bytes:
    return name.encode("latin-1")
