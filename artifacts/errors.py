"""Every error of ours that a caller can act on.

W2sError                    one line for the person at the keyboard
├── UsageError              the request is wrong; nothing was started (exit code 2)
├── FingerprintError        code within reach of a stage that cannot be fingerprinted
├── SourceChanged           the code that ran, or lies on disk, is not the code that was ordered
├── StorageFull             no room left on the device
├── Stopped                 the process is being stopped, or the run is
└── ArtifactError           the store
    ├── ForeignStore        a folder that was made by something else
    ├── StoreUnavailable    a service that does not answer, or refuses
    ├── MissingArtifact     asked for by key, not there
    └── CorruptArtifact     there, but not as its manifest says
"""


class W2sError(Exception):
    """One line for the person at the keyboard: what, where, found and expected, and what to do next."""


class UsageError(W2sError):
    """The request is wrong; nothing was started."""


class FingerprintError(W2sError):
    """Code within reach of a stage that cannot be fingerprinted, with file and line."""


class SourceChanged(W2sError):
    """The code that was loaded, or lies on disk, is not the code that was ordered; nothing was stored."""


class StorageFull(W2sError):
    """No room left on the device."""


class Stopped(W2sError):
    """Somebody asked for the end; finished stages stay."""


class ArtifactError(W2sError):
    """Something about the store."""


class ForeignStore(ArtifactError):
    """A folder that holds something, but no store of this version."""


class StoreUnavailable(ArtifactError):
    """A service that holds a store does not answer, or refuses."""


class MissingArtifact(ArtifactError):
    """An artifact that was asked for by key and is not there."""


class CorruptArtifact(ArtifactError):
    """An artifact whose files are not as its manifest says."""
