"""Remembers the exact source that each module of a package was loaded from, so that what is hashed is what runs.

What the source means is in ``fingerprint``.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType

from artifacts.errors import SourceChanged
from artifacts.identity.sources import Source, Sources, read_package, shared_sources


def record(package: str) -> None:
    """Record the source of every module of ``package`` that is imported from now on; a second call does nothing.

    Modules are compiled from the recorded bytes, never taken from a ``.pyc`` file.
    """
    if package not in _RECORDERS:
        _RECORDERS[package] = _Recorder(package)
        sys.meta_path.insert(0, _RECORDERS[package])


def loaded(package: str) -> Sources:
    """The source of ``package`` as this process has loaded it.

    Modules that were not imported yet are read from disk, and will be loaded from just those bytes if they are
    imported before the next call.

    Raises:
        SourceChanged: a module was imported before ``record``, so that nobody knows what source it has.
        RuntimeError: ``record`` was not called.
    """
    if package not in _RECORDERS:
        raise RuntimeError(f"record({package!r}) must be called before {package} is imported")
    return _RECORDERS[package].sources()


_RECORDERS: dict[str, _Recorder] = {}


class _Recorder(MetaPathFinder):
    """Finds modules of one package where any other finder would, but loads them itself."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._loaded: dict[str, Source] = {}
        self._read: dict[str, Source] = {}
        """What ``sources`` has read of modules that were not loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec that the finders after this one give, with a loader that records."""
        if not self._owns(fullname):
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                loader = spec.loader
                if isinstance(loader, importlib.machinery.SourceFileLoader):
                    spec.loader = _RecordingLoader(fullname, loader.path, self)
                return spec
        return None

    def text(self, module: str, path: Path) -> bytes:
        """The bytes to load a module from; remembers them."""
        source = self._read.pop(module, None)
        if source is None or source.path != path:
            source = Source(path, path.read_bytes())
        self._loaded[module] = source
        return source.text

    def sources(self) -> Sources:
        """See ``loaded``."""
        for name, module in list(sys.modules.items()):
            if self._owns(name) and name not in self._loaded and not self._is_empty(name, module):
                raise SourceChanged(
                    f"{name} was imported before recording began, so the code it runs is not known; "
                    f"call record({self._package!r}) earlier"
                )
        # A module that failed while it was imported will be read again.
        running = {name: source for name, source in self._loaded.items() if name in sys.modules}
        on_disk = read_package(self._package)
        self._read = {name: on_disk[name] for name in on_disk.keys() - running.keys()}
        return shared_sources(self._package, self._read | running)

    def _owns(self, module: str) -> bool:
        return f"{module}.".startswith(f"{self._package}.")

    def _is_empty(self, name: str, module: ModuleType) -> bool:
        """Whether nothing can have run: no file, or the empty ``__init__`` that comes with any import."""
        path = getattr(module, "__file__", None)
        return path is None or (name == self._package and not Path(path).read_bytes().strip())


class _RecordingLoader(importlib.machinery.SourceFileLoader):
    """Compiles a module from the bytes that its recorder remembers."""

    def __init__(self, fullname: str, path: str, recorder: _Recorder) -> None:
        super().__init__(fullname, path)
        self._recorder = recorder

    def get_code(self, fullname: str) -> CodeType:
        """The code of the module, compiled anew."""
        return self.source_to_code(self._recorder.text(fullname, Path(self.path)), self.path)
