"""What can be wrong with weights: each error names the object and says what to do, in one line.

WeightsError
├── AddressInvalid       the source cannot be read as an address
├── LibraryMissing       the client of that hub is not installed
├── SourceUnreachable    no answer, or one that asks to come again later
│   └── StreamBroken     the answer stopped in the middle
├── AccessRefused        credentials are missing, expired or not allowed to
├── ObjectMissing        no such bucket, model or file
├── ObjectChanged        a file was replaced while it was downloaded
├── ManifestInvalid      the manifest is missing, broken, or at odds with what is there
├── NameUnsafe           a file's name would lead out of its folder, or cannot be stored
├── ChecksumMismatch     a file is not what it should be
├── DiskFull             the disk or the budget has no room
└── CacheUnusable        the cache's folder cannot be written to, or not be locked
"""


class WeightsError(Exception):
    """Weights cannot be had; the message names the object and says what to do."""


class AddressInvalid(WeightsError):
    """The source cannot be read as an address."""


class LibraryMissing(WeightsError):
    """The client library of that hub is not installed."""


class SourceUnreachable(WeightsError):
    """The source gave no answer, or one that asks to come again later."""


class StreamBroken(SourceUnreachable):
    """An answer stopped in the middle; the rest can be asked for at once."""


class AccessRefused(WeightsError):
    """Credentials are missing, wrong, expired, or do not allow it."""


class ObjectMissing(WeightsError):
    """There is no such bucket, model or file."""


class ObjectChanged(WeightsError):
    """A file was replaced at the source while it was downloaded."""


class ManifestInvalid(WeightsError):
    """The manifest is missing, broken, or at odds with the files."""


class NameUnsafe(WeightsError):
    """A file's name would lead out of its folder, or cannot be stored in one."""


class ChecksumMismatch(WeightsError):
    """A file's content is not what it should be."""


class DiskFull(WeightsError):
    """The disk, or the budget for weights on it, has no room."""


class CacheUnusable(WeightsError):
    """The cache's folder cannot be written to, or cannot be locked."""
