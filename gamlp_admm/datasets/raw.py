"""Raw files: where they lie, whether they are there, and how they are downloaded.

A download goes to a temporary folder under the data root and each file is then renamed into place, so a file
that is present is complete. It comes over TLS and is compared with its checksum, where that is known.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import platformdirs

from gamlp_admm.datasets.info import DatasetInfo, RawFiles, catalogue_folder, in_checkout
from gamlp_admm.errors import InputError

TIMEOUT = 60.0  # seconds without a byte before a download is given up

MOST_UNPACKED, MOST_TIMES = 2**30, 100
"""An archive may unpack to so many bytes, or to so many times its size; of real ones the most is 30 times."""

_entries: ContextVar[int | None] = ContextVar("_entries", default=None)

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the user's cache folder for this package; it need not exist."""
    return platformdirs.user_cache_path("gamlp-admm", appauthor=False)


def default_root() -> Path:
    """Return the data root used when none is given.

    It is ``$GAMLP_ADMM_DATA``; else ``datasets/.cache`` in a checkout; else a folder of the user's cache.

    Example:
        >>> from gamlp_admm.datasets import default_root
        >>> default_root().name != ""
        True
    """
    if chosen := os.environ.get("GAMLP_ADMM_DATA"):
        return Path(chosen).expanduser()
    return catalogue_folder() / ".cache" if in_checkout() else cache_folder() / "datasets"


def is_present(info: DatasetInfo, root: Path) -> bool:
    """Tell whether a data set can be loaded from ``root`` without a network."""
    return info.raw is None or not missing_files(info.raw, root)


def missing_files(raw: RawFiles, root: Path) -> list[str]:
    """Return the names of the raw files that are not under ``root``."""
    return [name for name in raw.files if not (root / raw.folder / name).is_file()]


def ensure_raw(info: DatasetInfo, root: Path) -> list[Path]:
    """Make sure that a data set's raw files are there, by downloading those that are not.

    Args:
        info: Description of the data set.
        root: Data root; only written to when a file is missing.

    Returns:
        The paths of the raw files, in the description's order; none for a data set that has none.

    Raises:
        InputError: If files are missing and cannot be downloaded or written.
    """
    if info.raw is None:
        return []
    folder = root / info.raw.folder
    if missing := missing_files(info.raw, root):
        with downloading(info.name, root, folder, missing) as staged:
            _check_room(info, staged)
            _download(info.raw, missing, staged)
            if absent := [name for name in missing if not (staged / name).is_file()]:
                raise FileNotFoundError(f"not in {info.raw.urls[0]}: {', '.join(absent)}")
    return [folder / name for name in info.raw.files]


def _check_room(info: DatasetInfo, folder: Path) -> None:
    """Check that there is room for an archive and what is in it, of which some is compressed once more."""
    free, needed = shutil.disk_usage(folder).free, 2 * info.download_bytes
    if free < needed:
        raise OSError(f"it takes {needed / 1e9:,.1f} GB, of which {free / 1e9:,.1f} GB are free")


@contextmanager
def downloading(name: str, root: Path, folder: Path, missing: list[str]) -> Iterator[Path]:
    """Give a temporary folder for a download; what the block puts there is then moved into ``folder``.

    Args:
        name: Name of the data set.
        root: Data root, on the same disk as ``folder``.
        folder: Where the files belong.
        missing: Names of the missing files, for the error message.

    Yields:
        The temporary folder.

    Raises:
        InputError: If ``root`` cannot be written to or the block raises.
    """
    remedy = f"place the raw files in {folder}: {', '.join(missing)}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        staging = tempfile.TemporaryDirectory(prefix=".download-", dir=root)
    except OSError as error:
        raise InputError(f"{name}: cannot download to {root} ({one_line(error)}); {remedy}") from error
    with staging as staged:
        try:
            yield Path(staged)
            _move_files(Path(staged), folder)
        except Exception as error:  # no network, or a damaged archive, on which readers raise almost anything
            raise InputError(f"{name}: cannot download it ({one_line(error)}); {remedy}") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any failure inside the block into an error that names the raw file (or folder) being read.

    Raises:
        InputError: If the block raises; on damaged files readers raise almost any exception.
    """
    try:
        yield
    except Exception as error:
        raise InputError(f"cannot read {path} ({one_line(error)}); put a good copy there") from error


@contextmanager
def described(info: DatasetInfo) -> Iterator[None]:
    """Let :func:`check_entries` know in the block how large a data set is."""
    token = _entries.set(info.nodes * max(info.features, 1))
    try:
        yield
    finally:
        _entries.reset(token)


def check_entries(count: int) -> None:
    """Check how many features a file announces, before there is memory taken for them.

    Args:
        count: Nodes times features.

    Raises:
        ValueError: They are more than the data set that is being read is described to have.
    """
    most = _entries.get()
    if most is not None and count > most:
        raise ValueError(f"it announces {count:,} features, where the data set has {most:,}")


def most_unpacked(path: Path) -> int:
    """Return the number of bytes that a compressed file may unpack to."""
    return max(MOST_UNPACKED, MOST_TIMES * path.stat().st_size)


def check_unpacked(path: Path) -> None:
    """Check that a file, if it is a zip archive (as ``.npz`` is), does not unpack to something enormous.

    Raises:
        ValueError: It does.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())  # no more than that is read of a member
    if size > most_unpacked(path):
        raise ValueError(f"it would unpack to {size:,} bytes, from {path.stat().st_size:,}")


def one_line(error: BaseException) -> str:
    """Return an exception's type and message on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _download(raw: RawFiles, missing: list[str], folder: Path) -> None:
    """Download the missing files, or the archive that holds them, into a mirror of the raw folder."""
    hashes = raw.hashes or ("",) * len(raw.urls)
    if len(raw.urls) == len(raw.files):
        for name, url, known in zip(raw.files, raw.urls, hashes, strict=True):
            if name in missing:
                _fetch(url, folder / name, known)
        return
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        archive = Path(scratch) / "archive.zip"
        _fetch(raw.urls[0], archive, hashes[0])
        check_unpacked(archive)
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(scratch)
        archive.unlink()
        for top in Path(scratch).iterdir():
            _move_files(top, folder)


def _fetch(url: str, path: Path, known: str) -> None:
    """Download one file over TLS and compare it with its checksum, where one is known."""
    import pooch  # with requests a quarter of a second to import, and needed here only

    if not url.startswith("https://"):
        raise ValueError(f"{url} is not https")
    logger.info("downloading %s", url)
    said = pooch.get_logger()
    level = said.level
    said.setLevel(logging.ERROR)
    try:
        get = pooch.HTTPDownloader(timeout=TIMEOUT)
        pooch.retrieve(url, known or None, fname=path.name, path=path.parent, downloader=get)
    finally:
        said.setLevel(level)


def _move_files(source: Path, target: Path) -> None:
    """Move every file under ``source`` to the same place under ``target``, each by one rename."""
    for path in [path for path in source.rglob("*") if path.is_file()]:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
