"""What can go wrong while frames flow.

StreamError
├── SourceError            a source could not be opened or read; worth another try
│   └── RefusedError       it was refused for good (wrong password, no such file): another try is no use
├── SinkError              an output failed; the others go on
│   └── SinkClosed         its user has closed it: no failure
└── PipelineError          a stage failed; the first failure, with the stage's name
"""


class StreamError(Exception):
    """Something about a stream failed."""


class SourceError(StreamError):
    """A source could not be opened or read. A live source is tried again after this."""


class RefusedError(SourceError):
    """A source said no, and would say no again: a wrong password, a missing file, an unknown format."""


class SinkError(StreamError):
    """An output failed: a full disk, a closed window."""


class SinkClosed(SinkError):
    """The user has closed an output, such as a window."""


class PipelineError(StreamError):
    """A stage of the pipeline failed; `__cause__` is what it failed of."""
