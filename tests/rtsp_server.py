"""GStreamer's RTSP server as a camera: H.264, H.265 and MJPEG, with or without a password.

Tests start it through `RtspServer`; the file is also what then runs, under the system's Python.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

SIZE = (320, 240)
FPS = 25
GOP = 25
USER, PASSWORD = "me", "p@ss:w/rd"

BARS = {(40, 60): (191, 191, 191), (160, 60): (0, 191, 0), (300, 60): (0, 0, 191)}
"""(x, y) of what it shows, and the colour there."""

Login = Literal["none", "basic", "digest"]

_RAW = (
    "videotestsrc is-live=true pattern=smpte75"
    f" ! video/x-raw,format=I420,width={SIZE[0]},height={SIZE[1]},framerate={FPS}/1"
)
# Not more than one thread: x264's sliced threads make FFmpeg take every slice of a keyframe for a picture of its own.
_X264 = f"x264enc name=encoder threads=1 speed-preset=ultrafast key-int-max={GOP} bitrate={{kbit}}"
_PAY_H264 = "h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"
MOUNTS = {
    "h264": f"{_X264} tune=zerolatency ! {_PAY_H264}",
    "h264b": f"{_X264} bframes=2 b-adapt=false rc-lookahead=4 ! video/x-h264,profile=main ! {_PAY_H264}",
    "h265": "x265enc name=encoder tune=zerolatency speed-preset=ultrafast"
    f" key-int-max={GOP} bitrate={{kbit}} ! h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1",
    "mjpeg": "jpegenc name=encoder quality=80 ! rtpjpegpay name=pay0 pt=26",
}


class RtspServer:
    """The server as a child process; it may be killed, frozen and started again on the same port.

    Args:
        login: how it asks for `USER` and `PASSWORD`.
        host: where it listens; the port is found.
        protocols: what it sends pictures over.
        kbit: kilobits per second of H.264 and H.265.
        noise: random pictures, which fill that rate.
        certificate: a PEM file with key and certificate; with it the server speaks RTSPS.
        prefix: what stands before the command, such as `ip netns exec NAME`.
    """

    def __init__(
        self,
        *,
        login: Login = "none",
        host: str = "127.0.0.1",
        protocols: Literal["both", "udp"] = "both",
        kbit: int = 500,
        noise: bool = False,
        certificate: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.host, self.port = host, _free_port()
        self._command = [
            *prefix,
            "/usr/bin/python3",
            __file__,
            f"--host={host}",
            f"--port={self.port}",
            f"--login={login}",
            f"--protocols={protocols}",
            f"--kbit={kbit}",
            *(["--noise"] if noise else []),
            *([f"--certificate={certificate}"] if certificate else []),
        ]
        self._scheme = "rtsps" if certificate else "rtsp"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def url(self, mount: str, *, user: str = "", password: str = "") -> str:
        """The address of a mount; user and password stand in it as they are given."""
        login = f"{user}:{password}@" if user else ""
        return f"{self._scheme}://{login}{self.host}:{self.port}/{mount}"

    def start(self) -> None:
        """Start it, and return when it listens."""
        assert self._process is None, "two servers on one port would share it"
        # In a process group of its own: `prefix` may be a wrapper, and both must end.
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.strip() == "ready", f"the server did not start: {line!r}"

    def kill(self) -> None:
        """End it without a goodbye, and return when it is gone."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process = None

    def freeze(self) -> None:
        """Let it hold its connections and say nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _serve(asked: argparse.Namespace) -> None:
    import gi

    for name in ("Gst", "GstRtsp", "GstRtspServer"):
        gi.require_version(name, "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(asked.host)
    server.set_service(str(asked.port))
    raw = _RAW.replace("smpte75", "snow") if asked.noise else _RAW
    for mount, encoder in MOUNTS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {raw} ! {encoder.format(kbit=asked.kbit)} )")
        factory.set_shared(True)
        factory.set_latency(0)
        factory.connect("media-configure", _forbid_seeking)
        if asked.protocols == "udp":
            factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
        if asked.login != "none":
            factory.set_permissions(_permissions(GstRtspServer))
        server.get_mount_points().add_factory(f"/{mount}", factory)
    if asked.login != "none" or asked.certificate:
        server.set_auth(_auth(GstRtsp, GstRtspServer, asked))
    if server.attach(None) == 0:
        sys.exit(f"port {asked.port} is taken")
    print("ready", flush=True)
    loop = GLib.MainLoop()
    # Whoever started it holds the other end of stdin, and has gone when that is closed.
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, lambda *_: loop.quit())
    loop.run()


def _forbid_seeking(factory: Any, media: Any) -> None:
    """A reader joins in the middle of a group, as at a camera: what can seek begins anew for each reader."""
    from gi.repository import Gst

    def answer(pad: Any, info: Any) -> Any:
        query = info.get_query()
        if query.type != Gst.QueryType.SEEKING:
            return Gst.PadProbeReturn.OK
        query.set_seeking(Gst.Format.TIME, False, -1, -1)
        return Gst.PadProbeReturn.HANDLED

    encoder = media.get_element().get_by_name("encoder")
    encoder.get_static_pad("src").add_probe(Gst.PadProbeType.QUERY_UPSTREAM, answer)


def _permissions(rtsp_server: Any) -> Any:
    permissions = rtsp_server.RTSPPermissions()
    for what in ("access", "construct"):
        permissions.add_permission_for_role("user", f"media.factory.{what}", True)
    return permissions


def _auth(rtsp: Any, rtsp_server: Any, asked: argparse.Namespace) -> Any:
    auth, token = rtsp_server.RTSPAuth(), rtsp_server.RTSPToken()
    token.set_string("media.factory.role", "user")
    if asked.certificate:
        from gi.repository import Gio

        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(asked.certificate))
    if asked.login == "digest":
        auth.set_supported_methods(rtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(USER, PASSWORD, token)
    elif asked.login == "basic":
        auth.set_supported_methods(rtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(rtsp_server.RTSPAuth.make_basic(USER, PASSWORD), token)
    return auth


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--login", choices=["none", "basic", "digest"], required=True)
    parser.add_argument("--protocols", choices=["both", "udp"], required=True)
    parser.add_argument("--kbit", type=int, required=True)
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--certificate", default="")
    _serve(parser.parse_args())
