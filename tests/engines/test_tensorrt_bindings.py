"""TensorRT's real bindings, over libraries in which nothing can be made: their names, and our callbacks in them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from real_tensorrt import VERSIONS, RealTensorRt

TESTS = Path(__file__).parents[1]
API = TESTS / "api"
ANSWERS = API / "answers.py"


@pytest.fixture(params=[10, 11], ids=["tensorrt10", "tensorrt11"], scope="module")
def bindings(request: pytest.FixtureRequest) -> RealTensorRt:
    made = RealTensorRt(request.param)
    made.build()
    return made


def of_double(major: int, **environment: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, str(ANSWERS), "tensorrt"],
        env={
            **os.environ,
            "PYTHONPATH": str(TESTS / "doubles"),
            "DOUBLE_TRT_VERSION": VERSIONS[major],
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


@pytest.mark.pycuda
def test_the_kept_interface_is_that_of_the_real_bindings(bindings: RealTensorRt, tmp_path: Path) -> None:
    bindings.run(API / "read_tensorrt.py", str(tmp_path / "read.json"))
    read = json.loads((tmp_path / "read.json").read_text())
    kept = json.loads((API / f"tensorrt_{bindings.major}.json").read_text())
    assert read["version"] == kept["version"] == VERSIONS[bindings.major]
    for part in ("constants", "functions", "classes"):
        assert read[part] == kept[part], part


@pytest.mark.pycuda
def test_the_double_answers_as_the_real_bindings(bindings: RealTensorRt) -> None:
    real = json.loads(bindings.run(ANSWERS, "tensorrt_bindings").stdout)
    assert len(real) >= 40
    assert of_double(bindings.major, DOUBLE_TRT_NO_GPU="1") == real


@pytest.mark.pycuda
def test_real_bindings_take_our_callbacks(bindings: RealTensorRt) -> None:
    real = json.loads(bindings.run(ANSWERS, "tensorrt_bindings").stdout)
    told = {
        "our log": "'an error'",
        "an error is taken": "True",
        "how many errors": "1",
        "which error": "(<ErrorCodeTRT.INTERNAL_ERROR: 2>, 'an error')",
        "our errors": "(None, 0)",
        "a step, and one that cancels": "[True, False]",
        "what was heard": "[('tactics', 0, 5), ('costs', 0, 1), ('costs', 1, 1), ('costs', 2, 1)]",
        "our times": "{'conv': 1.5}",
        "the shape that was told": "(2,)",
        "a base that was not made": "TypeError",
        "no GPU for a builder": "TypeError",
    }
    assert {name: real[name] for name in told} == told


@pytest.mark.parametrize("major", [10, 11])
def test_the_double_takes_our_callbacks(major: int) -> None:
    told = of_double(major, DOUBLE_TRT_NO_GPU="1")
    assert told["how many errors"] == "1"
    assert told["a base that was not made"] == told["no GPU for a runtime"] == "TypeError"
    assert told["strong typing"] == ("0" if major == 11 else "1")
