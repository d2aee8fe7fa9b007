"""Model files on local disk: fetched once, verified, shared by all processes of a machine.

`cache_dir/<digest>/` holds exactly the pinned files, copies of remote ones and links to local
ones. A folder appears by a rename, whole or not at all; a lock file beside it lets one process
fetch while the others wait.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import ConfigurationError, InputMissing, ModelIncompatible, ModelNotReady
from schemas.job import ModelFile, ModelPin
from schemas.locations import is_s3, local_path
from schemas.model_files import HASH_READ_BYTES, files_digest
from schemas.storage import Storage


class ModelStore:
    """Local folders of pinned models under `cache_dir`, one for each digest."""

    def __init__(self, storage: Storage, cache_dir: Path) -> None:
        self._storage = storage
        self._cache_dir = cache_dir
        self._verified: set[str] = set()  # digests whose content this process has hashed

    @property
    def cache_dir(self) -> Path:
        """The folder of the folders, where what is found out about models is kept as well."""
        return self._cache_dir

    def fetch(self, pin: ModelPin) -> Path:
        """Return a local folder with exactly the pinned files, verified.

        Sizes are compared at each call, contents once per process.

        Raises:
            ModelIncompatible: The files at the pinned place are no longer the pinned ones.
            ModelNotReady: They could not be fetched completely; trying again may help.
            ConfigurationError: The cache folder belongs to another user.
        """
        _require_pin_of_plain_names(pin)
        folder = self._cache_dir / pin.digest
        if pin.digest in self._verified and _has_sizes(folder, pin):
            return folder
        with _writing_to(self._cache_dir):
            _make_private(self._cache_dir)
            with _locked(self._cache_dir / f"{pin.digest}.lock"):
                if not (_has_sizes(folder, pin) and _has_contents(folder, pin)):
                    self._fetch_into(folder, pin)
        self._verified.add(pin.digest)
        return folder

    def _fetch_into(self, folder: Path, pin: ModelPin) -> None:
        temporary = Path(tempfile.mkdtemp(prefix=f".{pin.digest}.", dir=self._cache_dir))
        try:
            for file in pin.files:
                self._fetch_file(f"{pin.uri}/{file.path}", temporary / file.path, file, pin)
            shutil.rmtree(folder, ignore_errors=True)  # what was found there was not the model
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _fetch_file(self, source: str, target: Path, file: ModelFile, pin: ModelPin) -> None:
        try:
            found = self._storage.stat(source)
            if found.size != file.size:
                raise _changed(pin, file, f"{found.size} bytes instead of {file.size}")
            if is_s3(source):
                size, sha256 = self._download(source, target)
            else:
                target.symlink_to(local_path(source))
                size, sha256 = found.size, _sha256(target)
        except InputMissing as error:
            raise _changed(pin, file, "it is gone") from error
        if size != file.size:
            raise ModelNotReady(f"{source}: received {size} of {file.size} bytes")
        if sha256 != file.sha256:
            raise _changed(pin, file, "another SHA-256")

    def _download(self, source: str, target: Path) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        with self._storage.open(source) as stream, target.open("wb") as copy:
            while block := stream.read(HASH_READ_BYTES):
                copy.write(block)
                digest.update(block)
                size += len(block)
        return size, digest.hexdigest()


@contextlib.contextmanager
def _writing_to(cache_dir: Path) -> Iterator[None]:
    """Turn errors of the local disk (full, read-only) into ModelNotReady."""
    try:
        yield
    except OSError as error:
        raise ModelNotReady(f"model cache {cache_dir}: {error.strerror or error}") from error


def _require_pin_of_plain_names(pin: ModelPin) -> None:
    """Refuse a pin that was tampered with: its names become paths on this machine."""
    if any(Path(file.path).name != file.path for file in pin.files):
        raise ModelIncompatible(f"model {pin.ref}: the manifest names files outside its folder")
    if files_digest(pin.files) != pin.digest:
        raise ModelIncompatible(f"model {pin.ref}: the manifest's digest is not that of its files")


def _changed(pin: ModelPin, file: ModelFile, how: str) -> ModelIncompatible:
    return ModelIncompatible(
        f"the model at {pin.uri} changed since the job was submitted: {file.path}, {how}"
    )


def _has_sizes(folder: Path, pin: ModelPin) -> bool:
    try:
        return all((folder / file.path).stat().st_size == file.size for file in pin.files)
    except OSError:  # not there, or a link to what is gone
        return False


def _has_contents(folder: Path, pin: ModelPin) -> bool:
    return all(_sha256(folder / file.path) == file.sha256 for file in pin.files)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _make_private(cache_dir: Path) -> None:
    cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if cache_dir.stat().st_uid != os.getuid():
        raise ConfigurationError(
            f"BULKSCORE_MODEL_CACHE_DIR: {cache_dir} belongs to another user, who could change "
            "models after they were verified: name another folder"
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the system frees it when this process ends in any way."""
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
