"""A module in one file: what comes out is what went in, and nothing comes out of what somebody else made up."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from safekit.config import archive, bundle, signing
from safekit_sdk import ConfigError, RefusedError, SafekitError

FILES = {"module.yaml": b"kind: light\n", "bin/start": b"#!/bin/sh\n", "parts/checkers.yaml": b"checkers: []\n"}
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
PACKED = archive.pack("web", FILES, {"safekit-checker-tcp": "0.1.0"}, {"safekit-checker-tcp": ["checker tcp"]}, KEY)


def opened(data: bytes) -> archive.Unpacked:
    return archive.unpack(data, "web.tar", [OTHER.public_key(), KEY.public_key()])


def hostile(*members: tuple[str, bytes, Mapping[str, Any]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """The good archive without its end, and then these."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made, tarfile.open(fileobj=io.BytesIO(PACKED)) as good:
        for info in good.getmembers():
            made.addfile(info, good.extractfile(info))
        for path, content, attributes in members:
            info = tarfile.TarInfo(path)
            info.size = len(content)
            for name, value in attributes.items():
                setattr(info, name, value)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def signed(manifest: Mapping[str, Any] | bytes, files: Mapping[str, bytes]) -> bytes:
    """Whatever it says, by a key that is trusted."""
    told = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    members = [("manifest.json", told), ("signature", signing.sign(told, KEY)), *files.items()]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for path, content in members:
            info = tarfile.TarInfo(path)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_what_was_packed_comes_out_with_what_it_needs_and_who_signed_it() -> None:
    found = opened(PACKED)
    assert found.files == FILES
    assert found.signer == signing.spelled(KEY.public_key())
    assert found.manifest.module == "web"
    assert found.manifest.plugins == {"safekit-checker-tcp": ["checker tcp"]}


def test_the_same_module_is_the_same_bytes() -> None:
    turned = dict(reversed(FILES.items()))
    assert archive.pack(
        "web", turned, {"safekit-checker-tcp": "0.1.0"}, {"safekit-checker-tcp": ["checker tcp"]}, KEY
    ) == (PACKED)


def test_any_tar_reads_it(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(PACKED)) as read:
        read.extractall(tmp_path, filter="data")
    assert (tmp_path / "files/bin/start").stat().st_mode & 0o111
    assert bundle.read_bundle(tmp_path / "files") == FILES


def test_who_has_not_signed_is_not_let_in() -> None:
    bare = archive.pack("web", FILES, {}, {})
    with pytest.raises(RefusedError, match=r"nobody has signed[\s\S]*--unsigned"):
        opened(bare)
    with pytest.raises(RefusedError, match="no key that you trust"):
        archive.unpack(PACKED, "web.tar", [OTHER.public_key()])
    with pytest.raises(RefusedError, match="by whom is not known"):
        archive.unpack(PACKED, "web.tar", [])
    for data in (bare, PACKED):
        assert archive.unpack(data, "web.tar", [], unsigned=True).files == FILES


def test_a_signature_of_another_thing_is_none() -> None:
    other = archive.pack("web", {**FILES, "bin/start": b"#!/bin/evil\n"}, {}, {}, OTHER)
    with tarfile.open(fileobj=io.BytesIO(PACKED)) as read:
        signature = read.extractfile("signature")
        assert signature is not None
        stolen = other.replace(signing.sign(_manifest_of(other), OTHER), signature.read())
    with pytest.raises(RefusedError, match="no key that you trust"):
        opened(stolen)


def _manifest_of(data: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        found = read.extractfile("manifest.json")
        assert found is not None
        return found.read()


@pytest.mark.parametrize(
    ("member", "what"),
    [
        (("files/link", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/shadow"}), "a symbolic link"),
        (("files/hard", b"", {"type": tarfile.LNKTYPE, "linkname": "files/module.yaml"}), "a hard link"),
        (("files/null", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}), "a device"),
        (("files/disk", b"", {"type": tarfile.BLKTYPE, "devmajor": 8}), "a device"),
        (("files/pipe", b"", {"type": tarfile.FIFOTYPE}), "a pipe"),
        (("files/bin", b"", {"type": tarfile.DIRTYPE}), "a directory"),
        (("files/hole", b"", {"type": tarfile.GNUTYPE_SPARSE}), "something else"),
        (("files/odd", b"", {"type": b"\0"}), "something else"),
        (("files/module.yaml", b"kind: farm\n", {}), "twice"),
        (("manifest.json", b"{}", {}), "twice"),
        (("signature", b"x" * 64, {}), "twice"),
        (("files/more", b"x", {}), "not in both"),
        (("more", b"x", {}), "not below files/"),
        (("/etc/passwd", b"x", {}), "not below files/"),
        (("files/../../etc/passwd", b"x", {}), "cannot be the path"),
        (("files//etc/passwd", b"x", {}), "cannot be the path"),
        (("files/./x", b"x", {}), "cannot be the path"),
        (("files/bin/start/x", b"x", {}), "a file and a directory"),
        (("files/.git", b"x", {}), "cannot be the path"),
    ],
)
def test_what_pack_never_writes_is_refused(member: Any, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        opened(hostile(member))
    assert caught.value.where == "web.tar"


def test_headers_that_change_what_follows_are_refused() -> None:
    long: Any = ("files/" + "x" * 200, b"x", {})
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with pytest.raises(ConfigError, match=r"something else than a file|no ustar archive"):
            opened(hostile(long, form=form))


def test_more_than_the_bounds_is_refused_before_it_is_looked_at() -> None:
    many: Any = [(f"files/f{number}", b"", {}) for number in range(bundle.MAX_FILES + 1)]
    with pytest.raises(ConfigError, match="more than 1000 files"):
        opened(hostile(*many))
    with pytest.raises(ConfigError, match=r"more than .* bytes"):
        opened(bytes(archive.MAX_ARCHIVE_BYTES + 1))


@pytest.mark.parametrize("size", ["77777777777", "-0000000001", "00000000 12", ""])
def test_a_size_that_is_none_ends_the_reading(size: str) -> None:
    header = bytearray(PACKED[:512])
    header[124:136] = size.encode().ljust(12, b"\0")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 0x20 + sum(header[156:]))
    with pytest.raises(ConfigError, match=r"ends too early|a number in it"):
        opened(bytes(header) + PACKED[512:])


@pytest.mark.parametrize(
    "data", [b"", b"kind: light\n", bytes(1024), PACKED[:700], PACKED.rstrip(b"\0"), PACKED + b"x", b"PK\3\4" * 200]
)
def test_what_is_no_archive_or_a_part_of_one_is_refused(data: bytes) -> None:
    with pytest.raises(SafekitError, match=r"no packed module|nobody has signed"):
        opened(data)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"format": 2}, "format"),
        ({"module": "../x"}, "module"),
        ({"packages": {"x; rm -rf /": "1"}}, "must match"),
        ({"packages": {"x": "1 --index-url=http://evil"}}, "must match"),
        ({"packages": {"x": "1\n"}}, "must match"),
        ({"files": {}}, "at least 1|files"),
        ({"more": 1}, "more"),
    ],
)
def test_a_manifest_is_checked_whoever_signed_it(change: Mapping[str, Any], what: str) -> None:
    manifest = json.loads(_manifest_of(PACKED))
    files = {f"files/{path}": content for path, content in FILES.items()}
    assert opened(signed(manifest, files)).files == FILES
    with pytest.raises(ConfigError, match=what):
        opened(signed({**manifest, **change}, files))


def test_a_file_that_differs_from_its_checksum_or_is_missing_is_named() -> None:
    files = {f"files/{path}": content for path, content in FILES.items()}
    with pytest.raises(ConfigError, match="'bin/start' is not what was packed"):
        opened(signed(_manifest_of(PACKED), {**files, "files/bin/start": b"#!/bin/evil\n"}))
    del files["files/bin/start"]
    with pytest.raises(ConfigError, match="'bin/start' is in the archive or in its manifest, not in both"):
        opened(signed(_manifest_of(PACKED), files))


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, len(PACKED) - 1), flip=st.integers(1, 255))
def test_one_byte_that_changed_is_noticed_or_makes_no_difference(place: int, flip: int) -> None:
    data = bytearray(PACKED)
    data[place] ^= flip
    try:
        found = opened(bytes(data))
    except SafekitError:
        return
    assert found.files == FILES


def test_packages_that_are_not_here_are_a_line_to_paste() -> None:
    packages = {"safekit-checker-tcp": "9.9", "safekit-checker-nowhere": "1.0", "safekit-nothing": "2.0"}
    manifest = archive.unpack(archive.pack("web", FILES, packages, {}), "x", [], unsigned=True).manifest
    assert manifest.missing() == "pip install safekit-checker-nowhere==1.0 safekit-nothing==2.0"
    assert manifest.others() == ["safekit-checker-tcp is 0.1.0 here, and was 9.9 where the module was packed"]


def test_a_pair_of_keys_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "release"
    public = signing.make_pair(file)
    assert (file.stat().st_mode & 0o777, public.name) == (0o600, "release.pub")
    assert signing.spelled(signing.private_key(file).public_key()) == signing.spelled(signing.public_key(public))
    with pytest.raises(RefusedError, match="already"):
        signing.make_pair(file)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        signing.private_key(file)
    for wrong, read in ((public, signing.private_key), (file, signing.public_key)):
        wrong.chmod(0o600)
        with pytest.raises(ConfigError, match="no Ed25519"):
            read(wrong)
