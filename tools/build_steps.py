"""The steps of `headrace build`, each told in a line with its size, its time and what it costs."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headrace.engines import Candidate, Precision, Proof, choose, verdicts
from headrace.engines.catalog import BACKENDS, Building, availability, check_names, compile_engine, load
from headrace.engines.errors import CancelledError, EngineError, MissingBackendError
from headrace.engines.network import network_folder, things
from headrace.engines.proof import has_int8, prove
from headrace.engines.race import Feeds
from headrace.engines.variants import check_int8, make_int8, variant
from headrace.models.errors import ModelError, UnsupportedGraphError
from headrace.models.spec import ModelSpec
from headrace.stream.footage import feeds
from headrace.tools import proof_table
from headrace.tools.build import CALIBRATION_FRAMES
from headrace.tools.steps import BuildProgress, Interrupt, source_name, step, told

DONE, FAILED, INTERRUPTED = 0, 1, 130


class Build:
    """One network on its way from its file to proven engines."""

    def __init__(self, spec: ModelSpec, given: argparse.Namespace) -> None:
        check_names(given.engine, given.precision)
        self._spec, self._given = spec, given
        self._options = self._build_options()
        self._made: dict[str, ModelSpec] = {}
        self._narrow = False

    def run(self) -> int:
        """All steps; returns the exit code."""
        given = self._given
        if given.engine != "auto":
            self._require(given.engine, given.precision)
        if given.export:
            self._spec = self._exported()
        print(f"{self._spec.name}: {self._spec.weights.file}, {_size(self._spec.weights.file)}")
        self._check_graph()
        self._narrow = _is_int8(self._spec)
        if self._narrow and given.precision not in ("auto", "int8"):
            raise ValueError(f"--precision {given.precision}: {self._spec.weights.file} is int8 already")
        if self._narrow and given.keep_float:
            raise ValueError(f"--keep-float: {self._spec.weights.file} is int8 already")
        self._make_files()
        wanted = self._candidates()
        try:
            compiled = self._compile(wanted)
        except CancelledError as error:
            print(f"headrace build: {error}", file=sys.stderr)
            return INTERRUPTED
        works = bool(compiled) if given.no_prove else self._prove(compiled)
        if given.out is not None:
            self._write_out(given.out)
        print(f"{'kept in':10}  {network_folder(self._spec)}")
        print(f"{'auto':10}  {choose(self._spec).why}")
        return DONE if works else FAILED

    # -- before anything is compiled -----------------------------------------------------------------------------

    def _build_options(self) -> tuple[tuple[str, int], ...]:
        given = self._given
        named = {"workspace_bytes": given.workspace, "level": given.level, "max_batch": given.max_batch}
        options = tuple((name, value) for name, value in named.items() if value is not None)
        if options and given.engine != "auto" and BACKENDS[given.engine].options is None:
            raise ValueError(f"--workspace, --level and --max-batch are for tensorrt; --engine is {given.engine}")
        return options

    def _require(self, name: str, precision: str) -> None:
        """Tell what cannot be before anything is made: calibrating takes minutes."""
        if precision not in ("auto", *BACKENDS[name].precisions):
            has = ", ".join(BACKENDS[name].precisions)
            raise ValueError(f"--precision {precision}: {name} has {has}")
        load(name)
        reason = availability(name).reason
        if reason is not None:
            raise MissingBackendError(f"engine {name!r} does not work here: {reason}")

    def _exported(self) -> ModelSpec:
        """The torch definition with the file's weights, exported anew and proved against torch."""
        from headrace.tools.build_export import export

        path: Path = self._given.out / f"{self._spec.name}.onnx"
        with step("export") as words:
            words.append(f"torch → {path}: {export(self._spec, path)}")
        _describe(self._spec, path)
        return replace(self._spec, weights=replace(self._spec.weights, file=path))

    def _check_graph(self) -> None:
        """Told for every engine, and required where TensorRT is what is asked for."""
        try:
            from headrace.models.graph.check import check
            from headrace.models.graph.read import load as load_graph
        except ImportError as error:
            print(f"{'graph':10}  not checked: {error}")
            return
        with step("graph") as words:
            model = load_graph(self._spec.weights.file)
            found = check(model)
            blocking = [each for each in found if each.blocking]
            words.append(f"{len(model.graph.node)} nodes")
            words.append(f"TensorRT refuses {len(blocking)}" if blocking else "nothing that TensorRT refuses")
        for each in found:
            print(f"{'':10}  {'TensorRT refuses' if each.blocking else 'note'}: {each}")
        if blocking and self._given.engine == "tensorrt":
            raise UnsupportedGraphError(f"{self._spec.weights.file}: TensorRT cannot take it: see above")

    def _make_files(self) -> None:
        """The files that the precisions run: half and int8."""
        given = self._given
        if self._narrow:
            print(f"{'int8':10}  the file is, and runs as it is")
            return
        if given.precision in ("auto", "fp16"):
            try:
                with step("fp16") as words:
                    self._made["fp16"] = variant(self._spec, "fp16")
                    words.append(_file(self._made["fp16"]))
            except (EngineError, ModelError) as error:
                if given.precision == "fp16":
                    raise
                print(f"{'fp16':10}  not made: {error}")
        if given.precision == "int8":
            self._make_int8()

    def _make_int8(self) -> None:
        given = self._given
        check_int8(self._spec.weights.file, given.keep_float)
        with step("footage") as words:
            footage = feeds(self._spec, given.calibrate, CALIBRATION_FRAMES, told=told)
            words.append(f"{len(footage)} {things(self._spec)} of {source_name(given.calibrate)} to calibrate on")
        with step("int8") as words:
            self._made["int8"] = make_int8(
                self._spec,
                footage,
                source=source_name(given.calibrate),
                keep=given.keep_float or None,
                told=told,
            )
            words.append(_file(self._made["int8"]))

    # -- compiled and proven -------------------------------------------------------------------------------------

    def _candidates(self) -> list[Candidate]:
        given = self._given
        engines = [given.engine] if given.engine != "auto" else _working()
        found = []
        for name in engines:
            row = BACKENDS[name]
            precisions = row.precisions if given.precision == "auto" else (given.precision,)
            if self._narrow:
                precisions = ("int8",)
            elif given.precision == "auto" and row.options is not None and "fp16" in self._made:
                precisions = ("fp16",)  # each takes minutes; where half is right, full cannot be faster
            for precision in precisions:
                if precision in row.precisions and (precision != "int8" or has_int8(self._spec)):
                    options = self._options if row.options is not None else ()
                    found.append(Candidate(engine=name, precision=precision, options=options))
        if not found:
            raise ValueError(f"{self._spec.name}: {given.engine} has no {given.precision} here")
        return found

    def _compile(self, wanted: Sequence[Candidate]) -> list[Candidate]:
        """Compile what takes long, or all where no proof follows; what fails is told, and left to the proof."""
        compiled = []
        for each in wanted:
            if BACKENDS[each.engine].options is None and not self._given.no_prove:
                compiled.append(each)
                continue
            progress = BuildProgress()
            try:
                with Interrupt() as cancelled, step(each.engine) as words:
                    building = Building(progress=progress, cancelled=cancelled)
                    with compile_engine(
                        self._spec, each.engine, each.precision, options=each.options, building=building
                    ) as engine:
                        words.append(f"{each.precision} ready ({engine.info.precision} on {engine.info.device})")
                compiled.append(each)
            except CancelledError:
                raise
            except (EngineError, ModelError) as error:
                print(f"{each.engine:10}  {each.precision} failed: {error}")
            finally:
                progress.end()
        return compiled

    def _prove(self, wanted: Sequence[Candidate]) -> bool:
        """Whether anything that was asked for may be used."""
        if not wanted:
            return False
        given = self._given
        source = given.source if given.source is not None else given.calibrate
        frames: list[Feeds] = list(feeds(self._spec, source, given.frames, told=told))
        # What "auto" would take else runs along: speeds of one run compare best.
        best = choose(self._spec)
        rival = Candidate(engine=best.engine, precision=best.precision or "fp32", options=best.options)
        all_of_them = [*wanted, rival] if best.proven and rival not in wanted else wanted
        with step("proof") as words:
            proofs = prove(self._spec, frames, all_of_them, source=source_name(source), with_base=True, told=told)
            words.append(f"{len(proofs)} engines on {len(frames)} {things(self._spec)} of {source_name(source)}")
        self._tell(proofs)
        verdicts.keep(self._spec, proofs)
        for line in verdicts.overruled(self._spec, proofs):
            print(f"{'but':10}  {line}")
        return any(each.candidate in wanted and each.verdict not in ("off", "failed") for each in proofs)

    def _tell(self, proofs: Sequence[Proof]) -> None:
        print("\n".join(["", *proof_table.table(proofs), ""]))
        for line in proof_table.notes(proofs, {}):
            print(line)
        for line in proof_table.lost(proofs):
            print(f"{'accuracy':10}  {line}")

    def _write_out(self, folder: Path) -> None:
        for made in self._made.values():
            source = made.weights.file
            path = folder / f"{self._spec.name}-{_precision_of(source)}.onnx"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)
            _describe(self._spec, path)
            print(f"{'written':10}  {path}, {_size(path)}")


def _working() -> list[str]:
    return [name for name, row in BACKENDS.items() if not row.when_named and availability(name).reason is None]


def _is_int8(spec: ModelSpec) -> bool:
    """Whether the network's own file is."""
    return has_int8(spec) and variant(spec, "int8").weights.file == spec.weights.file


def _precision_of(file: Path) -> Precision:
    found: Precision = "int8" if file.stem.endswith("int8") else "fp16"
    return found


def _describe(spec: ModelSpec, path: Path) -> None:
    """Put the network's description beside a new file of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    described = spec.weights.file.with_suffix(".yaml")
    if described.is_file():
        shutil.copyfile(described, path.with_suffix(".yaml"))


def _file(spec: ModelSpec) -> str:
    return f"{spec.weights.file.name}, {_size(spec.weights.file)}"


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.1f} MB"
