"""What tests of changeovers share."""

from collections.abc import Callable, Sequence

import fakes
import pytest
from fakes import FakeEngine
from takeovers import SLOW, TRT, Builder, Job

from headrace.engines.candidate import Candidate


@pytest.fixture
def building(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Builder]:
    def build(job: Job, *, first: FakeEngine | None = None, better: Sequence[Candidate] = (TRT,)) -> Builder:
        builder = Builder(first or fakes.segment_engine(labels=SLOW), better, job)
        spec = builder.first.spec
        monkeypatch.setattr("headrace.stream.networks.open_engine", builder.open_engine)
        monkeypatch.setattr("headrace.stream.networks.spec", lambda name: spec)
        monkeypatch.setattr("headrace.stream.upgrade.choose", builder.choose)
        monkeypatch.setattr("headrace.stream.upgrade.promote", builder.promote)
        return builder

    return build
