"""The modules' files on one node: what is in force, what is staged, what was before.

`var/versions/NAME/<n>/` holds one version, complete and never changed. The file `current` beside them holds the
number in force: replacing that one file is what applies, restores or removes. `etc/modules/NAME/` is a copy of the
version in force, for people to read and edit; an edit counts once it is applied.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from safekit.config import bundle
from safekit.config.bundle import Files, read_bundle
from safekit.config.durable import replace_file, sync_directory, write_tree
from safekit.config.module import ModuleName
from safekit_sdk import ConfigError, RefusedError

__all__ = ["Store", "Version", "read_bundle"]
log = structlog.get_logger("store")
KEPT: Final = 10
STAGED_FOR_S: Final = 120.0
"""How long a staged change keeps another one out. Whoever staged it must have committed or aborted by then."""
_NAME: Final = TypeAdapter(ModuleName)


class Version(BaseModel):
    """What is known of one version."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int
    digest: str
    time: float
    """Unix time at which it was staged, then that at which it was put in force."""
    author: str = ""


class Store:
    """ConfigError when a name or file is not acceptable, is not there, is damaged, or cannot be written."""

    def __init__(self, etc: Path, var: Path, wall_clock: Callable[[], float] = time.time) -> None:
        self._modules = etc / "modules"
        self._versions = var / "versions"
        self._wall_clock = wall_clock

    def modules(self) -> list[str]:
        """The modules with a version in force, sorted."""
        return sorted(path.parent.name for path in self._versions.glob("*/current"))

    def directory(self, name: str) -> Path:
        """The files in force. They stay where they are until KEPT later versions have been applied."""
        return self._files(name, self._current(name))

    def digest(self, name: str) -> str:
        """Of the files in force."""
        return self._meta(name, self._current(name)).digest

    def files(self, name: str) -> dict[str, bytes]:
        """The files in force."""
        return self.version_files(name, self._current(name))

    def version_files(self, name: str, number: int) -> dict[str, bytes]:
        version = self._meta(name, number)
        files = read_bundle(self._files(name, number))
        if bundle.digest(files) != version.digest:
            raise ConfigError(
                f"version {number} of module '{name}' is damaged: its files were changed in place",
                where=str(self._files(name, number)),
                hint="apply the module again, from its files or from another node",
            )
        return files

    def edited(self, name: str) -> dict[str, bytes]:
        """The files of `etc/modules/NAME`, applied or not."""
        return read_bundle(self._modules / _checked(name))

    def put_edited(self, name: str, files: Files, *, over: bool) -> Path:
        """Write the files to `etc/modules/NAME`, to be applied or not; return that directory. RefusedError when there
        is one, unless `over`: then edits in it that were not applied are kept beside it."""
        bundle.check(files)
        target = self._modules / _checked(name)
        with self._alone(name), _writing(target):
            if target.exists() and not over:
                hint = "take another name: --name; or replace it: --force"
                raise RefusedError(f"the files of a module '{name}' are here already", where=str(target), hint=hint)
            self._publish_files(name, files)
        return target

    def versions(self, name: str) -> list[Version]:
        """What was put in force, newest first. The first is in force unless the module was removed."""
        numbers = self._numbers(name) - {self._number(name, "next")}
        return [self._meta(name, number) for number in sorted(numbers, reverse=True)]

    def staged(self, name: str) -> Version | None:
        number = self._number(name, "next")
        return self._meta(name, number) if number in self._numbers(name) else None

    def staged_directory(self, name: str, digest: str) -> Path:
        return self._files(name, self._staged(name, digest).number)

    def stage(self, name: str, files: Files) -> str:
        """Write the files beside those in force, on disk when it returns; return their digest. RefusedError while
        another change is staged. Whatever it raises, what is in force is as before."""
        bundle.check(files)
        digest = bundle.digest(files)
        with self._alone(name):
            self._refuse_second(name, digest)
            self._drop_staged(name)
            number = max(self._numbers(name), default=0) + 1
            self._write(name, Version(number=number, digest=digest, time=self._wall_clock()), files)
        return digest

    def restore(self, name: str, number: int) -> str:
        """Stage the files of an earlier version; return their digest, for `commit`."""
        return self.stage(name, self.version_files(name, number))

    def commit(self, name: str, digest: str, author: str = "") -> Version:
        """Put the staged files in force. Done twice it is the same as once. It needs no room on the disk."""
        with self._alone(name):
            if self.staged(name) is None and self._in_force(name) == digest:
                return self._meta(name, self._current(name))
            version = self._staged(name, digest)
            version = version.model_copy(update={"author": author, "time": self._wall_clock()})
            with contextlib.suppress(OSError):
                replace_file(self._meta_file(name, version.number), version.model_dump_json().encode(), 0o600)
            with _writing(self._place(name)):
                (self._place(name) / "next").rename(self._place(name) / "current")
                sync_directory(self._place(name))
            self._publish(name)
            self._prune(name)
        return version

    def abort(self, name: str, digest: str = "") -> None:
        """Forget what is staged (with a digest: if it is that). What is in force stays."""
        with self._alone(name):
            staged = self.staged(name)
            if not digest or (staged is not None and staged.digest == digest):
                self._drop_staged(name)

    def remove(self, name: str) -> None:
        """Take the module off the node. Its versions stay, so that it can be applied again."""
        with self._alone(name), _writing(self._place(name)):
            self._drop_staged(name)
            (self._place(name) / "current").unlink(missing_ok=True)
            sync_directory(self._place(name))
            self._publish(name)

    def recover(self) -> None:
        """Finish what a crash interrupted: remove half-written files, copy to `etc` what is in force."""
        for place in sorted(self._versions.glob("*/")):
            name = place.name
            with self._alone(name):
                for leftover in place.glob(".*.*"):
                    _remove(leftover)
                if self._number(name, "published") != self._number(name, "current"):
                    self._publish(name)

    def _place(self, name: str) -> Path:
        return self._versions / _checked(name)

    def _files(self, name: str, number: int) -> Path:
        return self._place(name) / str(number) / "files"

    def _meta_file(self, name: str, number: int) -> Path:
        return self._place(name) / str(number) / "version.json"

    def _numbers(self, name: str) -> set[int]:
        return {int(path.name) for path in self._place(name).glob("[0-9]*")}

    def _number(self, name: str, pointer: str) -> int | None:
        try:
            return int((self._place(name) / pointer).read_text(encoding="ascii"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise ConfigError("this file is damaged", where=str(self._place(name) / pointer)) from None

    def _current(self, name: str) -> int:
        number = self._number(name, "current")
        if number is None:
            known = ", ".join(self.modules()) or "none"
            raise ConfigError(f"there is no module '{name}' on this node", hint=f"there are: {known}")
        return number

    def _in_force(self, name: str) -> str:
        number = self._number(name, "current")
        return "" if number is None else self._meta(name, number).digest

    def _meta(self, name: str, number: int) -> Version:
        path = self._meta_file(name, number)
        try:
            return Version.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            kept = ", ".join(str(known) for known in sorted(self._numbers(name)))
            raise ConfigError(f"module '{name}' has no version {number}", hint=f"kept: {kept or 'none'}") from None
        except ValidationError:
            raise ConfigError("this file is damaged", where=str(path), hint="apply the module again") from None

    def _staged(self, name: str, digest: str) -> Version:
        staged = self.staged(name)
        if staged is None or staged.digest != digest:
            raise ConfigError(
                f"nothing of module '{name}' with digest {digest[:12]} is staged here", hint="apply the module again"
            )
        return staged

    def _refuse_second(self, name: str, digest: str) -> None:
        staged = self.staged(name)
        if staged is None or staged.digest == digest:
            return
        age_s = abs(self._wall_clock() - staged.time)
        if age_s < STAGED_FOR_S:
            raise RefusedError(
                f"another change of module '{name}' was begun {age_s:.0f} s ago and is not finished",
                hint=f"wait for it; it is given up after {STAGED_FOR_S:.0f} s",
            )

    def _write(self, name: str, version: Version, files: Files) -> None:
        """The version first, under a name that counts for nothing, then the pointer that `commit` only renames."""
        place = self._place(name)
        building = place / f".{version.number}.new"
        _remove(building)
        try:
            with _writing(place):
                tree = {f"files/{path}": (content, bundle.mode(content)) for path, content in files.items()}
                tree["version.json"] = (version.model_dump_json().encode(), 0o600)
                write_tree(building, tree)
                replace_file(place / "next", str(version.number).encode(), 0o600)
                building.rename(place / str(version.number))
                sync_directory(place)
        except BaseException:
            _remove(building)
            (place / "next").unlink(missing_ok=True)
            raise

    def _drop_staged(self, name: str) -> None:
        """The version goes first: a pointer to nothing stages nothing."""
        number = self._number(name, "next")
        if number is not None:
            _remove(self._place(name) / str(number))
            (self._place(name) / "next").unlink()

    def _prune(self, name: str) -> None:
        for number in sorted(self._numbers(name) - {self._number(name, "next")}, reverse=True)[KEPT:]:
            _remove(self._place(name) / str(number))

    def _publish(self, name: str) -> None:
        """Make `etc/modules/NAME` what is in force. Edits that were not applied are kept beside it. A failure is
        left to `recover`: what is in force does not depend on the copy."""
        number = self._number(name, "current")
        try:
            if number is not None:
                self._publish_files(name, self.files(name))
                replace_file(self._place(name) / "published", str(number).encode(), 0o600)
            else:
                self._put_aside(name)
                (self._place(name) / "published").unlink(missing_ok=True)
        except (OSError, ConfigError) as error:
            log.warning("etc/modules does not show the version in force", module=name, version=number, error=str(error))

    def _publish_files(self, name: str, files: Files) -> None:
        with contextlib.suppress(ConfigError):
            if bundle.digest(self.edited(name)) == bundle.digest(files):
                return
        building = self._modules / f".{name}.new"
        _remove(building)
        self._modules.mkdir(parents=True, exist_ok=True, mode=0o755)
        write_tree(building, {path: (content, bundle.mode(content)) for path, content in files.items()})
        self._put_aside(name)
        building.rename(self._modules / name)
        sync_directory(self._modules)

    def _put_aside(self, name: str) -> None:
        """Remove the copy in `etc`, or keep it as NAME.unapplied when it is not what was last published."""
        copy, published = self._modules / name, self._number(name, "published")
        if not copy.exists():
            return
        with contextlib.suppress(ConfigError):
            if published is not None and bundle.digest(self.edited(name)) == self._meta(name, published).digest:
                _remove(copy)
                return
        kept = self._modules / f"{name}.unapplied"
        _remove(kept)
        copy.rename(kept)
        log.warning("edits that were not applied are kept", module=name, directory=str(kept))

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """One change of a module at a time, among threads and processes."""
        place = self._place(name)
        with _writing(place):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise RefusedError(f"another process changes module '{name}' now", hint="try again") from None
        finally:
            os.close(descriptor)


def _checked(name: str) -> str:
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        hint = "letters, digits, _ and -, at most 63"
        raise ConfigError(f"{name[:80]!r} cannot be the name of a module", hint=hint) from None


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"the configuration cannot be written: {error.strerror}",
            where=str(place),
            hint="make room on the disk, or mend it; what was in force still is",
        ) from error


def _remove(path: Path) -> None:
    """A directory or a file. First out of the way by one rename: nobody ever sees half of it."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        doomed = path.with_name(f".{path.name.lstrip('.')}.gone")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
