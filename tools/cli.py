"""`headrace`: the commands, each imported only when it is called."""

import os
import sys
from collections.abc import Callable
from importlib import import_module

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("headrace.tools.run", "capture, decode, infer and render one or more sources"),
    "demo": ("headrace.tools.demo", "the same on a scene that ships with the package; ends by itself"),
    "sources": ("headrace.tools.sources", "cameras found here; probes a URL or a file"),
    "build": ("headrace.tools.build", "make a network ready for this machine: int8, compiled, proven, kept"),
    "prove": ("headrace.tools.prove", "compare the engines that work here for output and speed"),
    "models": ("headrace.tools.models", "the networks: task, size, score, licence, labels"),
    "eval": ("headrace.tools.evaluate", "accuracy of a network on labelled data"),
    "doctor": ("headrace.tools.doctor", "versions, devices, missing extras and the line that installs each"),
}
"""Name → module with `main(argv) -> exit code`, and one line of help."""

DONE, FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 done, 1 the work failed, 2 the call was wrong, 130 interrupted."""
    try:
        try:
            return _main(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to say, and nobody to say it to. What Python still holds
        # for them goes nowhere, or it would complain when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:  # once more, while the first one is being heeded
        return INTERRUPTED


def _main(argv: list[str] | None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return DONE if arguments else WRONG_CALL
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"headrace {version('headrace')}")
        return DONE
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"headrace: no command {name!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return WRONG_CALL
    return _run(name, rest)


def _run(name: str, rest: list[str]) -> int:
    try:
        command: Callable[[list[str]], int] = import_module(COMMANDS[name][0]).main
        return command(rest)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if "--debug" in rest:
            raise
        print(f"headrace {name}: {error}", file=sys.stderr)
        return WRONG_CALL if isinstance(error, ValueError) else FAILED


def _help() -> str:
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: headrace COMMAND …      (headrace COMMAND --help tells more)",
            "",
            "Real-time video, segmented and understood as it streams.",
            "",
            *lines,
            "",
            "example: headrace run 0 --save out.mp4",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
