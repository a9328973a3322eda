"""`headrace sources`: the cameras that are here, and what a given source is."""

import argparse
import sys
import time

from headrace.stream import open_source
from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.sources import SourceOptions
from headrace.stream.sources.cameras import cameras


def main(argv: list[str]) -> int:
    """List cameras, or probe sources; returns 0, or 1 where a source does not open."""
    parser = argparse.ArgumentParser(
        prog="headrace sources",
        description="Cameras found here with their formats; or, for each SOURCE, what it is.",
        epilog="example: headrace sources rtsp://camera/1",
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="a camera, URL, file, folder or scene: to probe")
    parser.add_argument("--transport", choices=("tcp", "udp"), default="tcp", help="of RTSP (%(default)s)")
    parser.add_argument("--debug", action="store_true")
    options = parser.parse_args(argv)
    if not options.sources:
        return _list_cameras()
    return max(_probe(text, SourceOptions(transport=options.transport)) for text in options.sources)


def _list_cameras() -> int:
    try:
        found = cameras()
    except RefusedError as error:
        print(error)
        return 0
    if not found:
        print("no camera found; every other kind of source: headrace sources SOURCE")
    for camera in found:
        print(f"{camera}  [{camera.driver}]{'  ' + camera.problem if camera.problem else ''}")
        for each in camera.formats:
            print(f"  {each}")
    return 0


def _probe(text: str, options: SourceOptions) -> int:
    source = open_source(text, options)
    started = time.monotonic()
    try:
        info = source.open()
        source.read()
        first_s = time.monotonic() - started
    except SourceError as error:
        print(f"headrace sources: {error}", file=sys.stderr)
        return 1
    finally:
        source.close()
    rate = f"{info.fps:g} fps" if info.fps else "rate not stated"
    length = f", {info.frames} frames" if info.frames else ""
    granted = f", {info.granted}" if info.granted else ""
    kind = "live" if source.is_live else "recorded"
    print(f"{source.name}: {kind}, {info.codec} {info.width}×{info.height}, {rate}{length}{granted}")
    print(f"  first packet after {first_s:.2f} s")
    return 0
