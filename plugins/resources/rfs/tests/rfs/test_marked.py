"""Marked directories as pages."""

from __future__ import annotations

from safekit_resource_rfs.marked import pages_of
from safekit_resource_rfs.messages import Marked, MarksPage
from safekit_resource_rfs.wire import MAX_MARKED, Decoder, encode


def carried(directories: list[Marked]) -> list[Marked]:
    """Over the wire, page by page."""
    decoder = Decoder(from_primary=False)
    found: list[Marked] = []
    for page in pages_of(directories):
        [message] = decoder.feed(b"".join(encode(MarksPage(page, False))))
        assert isinstance(message, MarksPage)
        found += message.directories
    return found


def test_more_directories_than_a_page_may_have_all_arrive() -> None:
    directories = [Marked(b"d%05d" % number, 1, True, False, ()) for number in range(2 * MAX_MARKED + 5)]
    assert carried(directories) == directories


def test_more_files_than_a_directory_may_have_in_a_page_all_arrive() -> None:
    files = tuple((b"%05d" % number, None) for number in range(MAX_MARKED + 5))
    found = carried([Marked(b"d", 1, True, False, files)])
    assert [file for marked in found for file in marked.files] == list(files)
