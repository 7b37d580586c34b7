"""Every error that this package raises on purpose, under one root.

    ProjectorExportError
    ├── DataError (ValueError)          the input cannot be shown as it is
    ├── InputNotFoundError (FileNotFoundError)
    ├── OptionError (ValueError)        an argument is out of range or contradicts another
    ├── OutputError (OSError)           the place to write to cannot be used
    │   └── NameTakenError              the run has that embedding; force=True replaces it
    ├── EncoderError (RuntimeError)     a model or its weights cannot be loaded
    ├── MissingExtraError (ImportError) an optional dependency is not installed
    ├── ReadBackError (RuntimeError)    TensorBoard's own plugin disagrees with what was written
    ├── RecordingError (RuntimeError)   a step of a training was not recorded (strict=True)
    └── ServeError (RuntimeError)       TensorBoard did not start or did not answer

A message says what was got, what was expected, where, and what to do.
"""


class ProjectorExportError(Exception):
    """Root of all errors of this package."""


class DataError(ProjectorExportError, ValueError):
    """The input cannot be shown as it is."""


class InputNotFoundError(ProjectorExportError, FileNotFoundError):
    """An input file or folder does not exist."""


class OptionError(ProjectorExportError, ValueError):
    """An argument is out of range or contradicts another."""


class OutputError(ProjectorExportError, OSError):
    """The place to write to cannot be used."""


class NameTakenError(OutputError):
    """The run already has an embedding of that name."""


class EncoderError(ProjectorExportError, RuntimeError):
    """A model or its weights cannot be loaded."""


class MissingExtraError(ProjectorExportError, ImportError):
    """An optional dependency is not installed."""


class ReadBackError(ProjectorExportError, RuntimeError):
    """TensorBoard's own plugin does not give back what was written."""


class RecordingError(ProjectorExportError, RuntimeError):
    """A step of a training was not recorded."""


class ServeError(ProjectorExportError, RuntimeError):
    """TensorBoard did not start, or did not answer in time."""
