"""How frames flow: sources, stages, outputs, and the pipeline that runs them."""

from headrace.stream.errors import PipelineError, RefusedError, SinkError, SourceError, StreamError
from headrace.stream.frame import Action, Clip, Frame, Packet, Result
from headrace.stream.pipeline import Pipeline
from headrace.stream.sources import open_source
from headrace.stream.stats import PipelineStats, StreamStats

__all__ = [
    "Action",
    "Clip",
    "Frame",
    "Packet",
    "Pipeline",
    "PipelineError",
    "PipelineStats",
    "RefusedError",
    "Result",
    "SinkError",
    "SourceError",
    "StreamError",
    "StreamStats",
    "open_source",
]
