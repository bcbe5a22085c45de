"""Propagated features that are kept between runs, each under the key of all that they were made of.

A cache is a directory, by default ``$GAMLP_ADMM_CACHE``, else ``gamlp-admm/features`` in the user's cache folder. An
entry is a directory of :class:`~gamlp_admm.propagation.store.StoredFeatures` whose name is its key
(:mod:`~gamlp_admm.propagation.store.keys`). It is made beside its place and renamed, so that it is there as a whole or
not at all; it is compared with its checksums whenever it is used; and what was not used for longest goes when all
together are larger than ``$GAMLP_ADMM_CACHE_SIZE``, 10 GiB. What goes wrong with a cache is a warning: features are
then made as if there were none.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs
from torch import Tensor

from gamlp_admm.errors import ContentError, DamageWarning, InputError, InputWarning, byte_count, unknown
from gamlp_admm.propagation.store.keys import arithmetic, key_of
from gamlp_admm.propagation.store.stored import StoredFeatures, is_store, read_about
from gamlp_admm.system.durable import alone

MODES = ("auto", "all", "none")
"""What is kept: what takes work to make, all that is propagated, or nothing; then nothing is read, either."""

LIMIT = "10GiB"

WORTH = 2**24
"""Multiply-adds from which on ``auto`` keeps features. Measured on one thread, from there on making them takes 10 ms or
more, finding them a tenth to a third of that, and keeping them, once, about as long again as making them."""

PATIENCE = 300.0
"""Seconds to wait for another process that makes the same features."""

PART = ".part"


@dataclass(frozen=True)
class KeptFeatures:
    """An entry of a cache.

    Attributes:
        key: Its key, which is the name of its directory.
        path: The directory.
        size: Bytes on the disk.
        used: When it was last used, in seconds since 1970.
        about: What its ``store.json`` says, as ``dataset``, ``transform``, ``shape`` and ``dtype``; nothing where it is
            damaged.
    """

    key: str
    path: Path
    size: int
    used: float
    about: Mapping[str, Any]


@dataclass(frozen=True)
class FeatureCache:
    """A directory of propagated features, which any number of processes may use at the same time.

    Attributes:
        folder: The directory, made when something is kept.
        limit: Bytes of all entries together.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from gamlp_admm.propagation.store import FeatureCache, key_of
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache, key = FeatureCache(Path(folder)), key_of("all that they are made of")
        ...     cache.keep(key, torch.ones(3, 2), {"dataset": "three nodes"})
        ...     found = cache.find(key).tolist()
        ...     found, [entry.about["dataset"] for entry in cache.entries()], len(cache.prune(0)), cache.find(key)
        ([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], ['three nodes'], 1, None)
    """

    folder: Path
    limit: int = byte_count("limit", LIMIT)

    @classmethod
    def default(cls) -> FeatureCache:
        """Return the user's cache.

        Raises:
            InputError: ``$GAMLP_ADMM_CACHE_SIZE`` is no size.
        """
        chosen, limit = os.environ.get("GAMLP_ADMM_CACHE"), os.environ.get("GAMLP_ADMM_CACHE_SIZE")
        usual = platformdirs.user_cache_path("gamlp-admm", appauthor=False) / "features"
        folder = Path(chosen).expanduser() if chosen else usual
        return cls(folder, byte_count("$GAMLP_ADMM_CACHE_SIZE", limit or LIMIT))

    def find(self, key: str) -> Tensor | None:
        """Return the features of a key ``[N, C]``, memory-mapped and compared with their checksum; ``None`` of none."""
        path = self.folder / key
        try:
            if not is_store(path):
                return None
            try:
                found = StoredFeatures.open(path).x
            except InputError as error:
                if is_store(path):  # and was not just taken away
                    warnings.warn(f"kept features are made anew: {error}", DamageWarning, stacklevel=2)
                    self._remove(path)
                return None
        except OSError as error:
            self._warn("read", error)
            return None
        with suppress(OSError):  # where it may only be read
            os.utime(path)
        return found

    @contextmanager
    def making(self, key: str) -> Iterator[bool]:
        """Tell, while a block makes the features of a key, whether it is this process that keeps them.

        A process that is making them is waited for, though not longer than :data:`PATIENCE`. Afterwards what was not
        used for longest goes, where all together are too large.
        """
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                mine = stack.enter_context(alone(self.folder / f"{key}.lock", PATIENCE))
            except OSError as error:
                self._warn("written", error)
                mine = False
            yield mine
        if mine:
            self.prune()

    def keep(self, key: str, x: Tensor, about: Mapping[str, Any]) -> None:
        """Keep features, unless they are larger than the limit.

        Args:
            key: Their key.
            x: ``[N, C]``.
            about: What is told of them.
        """
        if x.nbytes > self.limit:
            return
        told = {"key": key, "shape": [*x.shape], "dtype": str(x.dtype).removeprefix("torch."), **about}
        place, part = self.folder / key, None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=f"{key}-", suffix=PART, dir=self.folder))
            StoredFeatures.save(part, x, {}, told)
            if not is_store(place):
                self._remove(place)  # what is left of one
            part.rename(place)
        except (OSError, InputError) as error:
            if not is_store(place):  # which another process has kept meanwhile
                self._warn("written", error)
        finally:
            if part is not None:
                shutil.rmtree(part, ignore_errors=True)

    def entries(self) -> list[KeptFeatures]:
        """Return what is kept, the last used first."""
        found = []
        for path in self.folder.glob("*") if self.folder.is_dir() else ():
            if re.fullmatch(r"[0-9a-f]{32}", path.name):
                with suppress(OSError):  # which was just taken away
                    size = sum(file.stat().st_size for file in path.iterdir())
                    found.append(KeptFeatures(path.name, path, size, path.stat().st_mtime, _about(path)))
        return sorted(found, key=lambda entry: -entry.used)

    def prune(self, limit: int | None = None) -> list[KeptFeatures]:
        """Remove what was not used for longest, until the rest takes up so many bytes or fewer; return what went.

        What a process left that was killed while it kept something goes, too.

        Args:
            limit: Bytes that may stay; ``None`` for those of the cache.
        """
        with suppress(OSError):
            self._tidy()
        kept, removed = self.entries(), []
        while sum(entry.size for entry in kept) > (self.limit if limit is None else limit):
            removed.append(kept.pop())
            self._remove(removed[-1].path)
        return removed

    def _tidy(self) -> None:
        keys = {path.name[:32] for pattern in (f"*{PART}", "*.lock") for path in self.folder.glob(pattern)}
        for key in keys:
            with alone(self.folder / f"{key}.lock") as free:
                for part in self.folder.glob(f"{key}-*{PART}") if free else ():
                    shutil.rmtree(part, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        # First its name: what is under it is whole. Who has it mapped still reads it.
        part = path.with_name(f"{path.name}-{os.getpid()}{PART}")
        with suppress(OSError):
            path.rename(part)
            shutil.rmtree(part, ignore_errors=True)

    def _warn(self, what: str, error: Exception) -> None:
        why = error.strerror or error if isinstance(error, OSError) else error
        remedy = "$GAMLP_ADMM_CACHE names another, and --cache none does without"
        warnings.warn(f"the cache {self.folder} cannot be {what} ({why}): {remedy}", InputWarning, stacklevel=3)


def _about(path: Path) -> Mapping[str, Any]:
    try:
        return read_about(path)
    except InputError:
        return {}


@dataclass
class Caching:
    """Where propagated features are taken from and kept, and what came of it.

    Attributes:
        cache: The cache; ``None`` for none.
        least: Multiply-adds from which on they are kept.
        dataset: What they are of, as lists of the cache say it.
        keys: Keys of the features that were found or kept, as often as they were asked for.
        found: How many were in the cache.
        made: How many were not.
    """

    cache: FeatureCache | None
    least: int = 0
    dataset: str | None = None
    keys: list[str] = field(default_factory=list)
    found: int = 0
    made: int = 0

    def __call__(
        self,
        make: Callable[[], Tensor],
        made_of: Callable[[], Any],
        work: int,
        size: int,
        about: Callable[[], Mapping[str, Any]],
    ) -> Tensor:
        """Return features, kept ones where there are some.

        Args:
            make: Makes them, ``[N, C]``.
            made_of: Returns all that they depend on.
            work: Multiply-adds that they take.
            size: Bytes that they will have.
            about: Returns what lists of the cache say of them.
        """
        cache = self.cache
        kept = cache is not None and work >= max(self.least, 1) and size <= cache.limit
        key = self._key(made_of) if kept else None
        if cache is None or key is None:
            self.made += 1
            return make()
        x = cache.find(key)
        if x is None:
            with cache.making(key) as mine:
                x = cache.find(key) if mine else None
                if x is None:
                    made = make()
                    if mine:
                        cache.keep(key, made, {"dataset": self.dataset, **about()})
                    self.made += 1
                    self.keys.append(key)
                    return made
        self.found += 1
        self.keys.append(key)
        return x

    def _key(self, made_of: Callable[[], Any]) -> str | None:
        try:
            return key_of(arithmetic(), made_of())
        except ContentError as error:
            remedy = "NamedOperator(…, version=…) stands for an operator, and cache 'none' does without"
            warnings.warn(f"features are not kept: {error}; {remedy}", InputWarning, stacklevel=2)
        except InputError:  # which is for what makes them to say
            pass
        return None

    def told(self) -> dict[str, Any]:
        """Return what reports say: whether all features came from the cache, how many did, and the keys."""
        cached, keys = bool(self.found) and not self.made, list(dict.fromkeys(self.keys))
        return {"cached": cached, "found": self.found, "made": self.made, "keys": keys}


def check_mode(mode: str) -> None:
    """Check that a text is one of :data:`MODES`.

    Raises:
        InputError: It is another one.
    """
    if mode not in MODES:
        raise unknown("cache", mode, MODES)


_CURRENT: ContextVar[Caching | None] = ContextVar("_CURRENT", default=None)


def current() -> Caching | None:
    """Return what :func:`caching` set where this is called; ``None`` outside."""
    return _CURRENT.get()


@contextmanager
def caching(mode: str = "auto", dataset: str | None = None) -> Iterator[Caching]:
    """Take features that transforms propagate from the cache while a block runs, and keep what is not there.

    The bits are those that propagating gives. Outside such a block transforms neither read nor write any files.

    Args:
        mode: ``"auto"`` for features that are some work to make, ``"all"``, or ``"none"``.
        dataset: What they are of, as lists of the cache say it.

    Yields:
        What counts how many there were.

    Raises:
        InputError: There is no such mode.

    Example:
        >>> from gamlp_admm import AugmentFeatures, load_dataset
        >>> from gamlp_admm.propagation.store import caching
        >>> graph = load_dataset("karate").data
        >>> with caching("all") as first:
        ...     x = AugmentFeatures(operator=lambda A: A @ A)(graph).x
        >>> with caching("all") as second:
        ...     again = AugmentFeatures(operator=lambda A: A @ A)(graph).x
        >>> first.made, second.found, again.equal(x)
        (1, 1, True)
    """
    check_mode(mode)
    cache = None if mode == "none" else FeatureCache.default()
    token = _CURRENT.set(made := Caching(cache, WORTH if mode == "auto" else 0, dataset))
    try:
        yield made
    finally:
        _CURRENT.reset(token)
