"""Cameras that speak HTTP, well or badly: MJPEG, playlists, and servers that do not answer as they should."""

import base64
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np

SIZE = (160, 120)
FPS = 25


def bars(at: int) -> np.ndarray:
    """uint8 (H, W, 3) RGB: three bars of colour, and a white patch that moves."""
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for bar, colour in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200)]):
        picture[:, bar * SIZE[0] // 3 : (bar + 1) * SIZE[0] // 3] = colour
    picture[-20:, at * 4 % SIZE[0] :][:, :8] = 255
    return picture


def encode(
    container: av.container.OutputContainer, count: int, ends: Callable[[int], bool] = lambda at: False
) -> None:
    """H.264 pictures into a container, with a keyframe each second; asked before each picture whether it ends."""
    stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "tune": "zerolatency"})
    stream.width, stream.height = SIZE
    stream.pix_fmt, stream.gop_size = "yuv420p", FPS
    for at in range(count):
        if ends(at):
            break
        frame = av.VideoFrame.from_ndarray(bars(at), format="rgb24")
        frame.pts, frame.time_base = at, Fraction(1, FPS)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_playlist(folder: Path, seconds: int, *, ends: bool) -> Path:
    """A playlist and its pieces of one second; one that does not end waits for more."""
    flags = {} if ends else {"hls_flags": "omit_endlist"}
    options = {"hls_time": "1", "hls_list_size": "0", **flags}
    with av.open(str(folder / "live.m3u8"), "w", format="hls", options=options) as container:
        encode(container, seconds * FPS)
    return folder / "live.m3u8"


class HttpCamera:
    """An HTTP server on the loopback; what it says is up to `answer`."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                # The reader may leave at any time.
                with suppress(OSError):
                    answer(self)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def url(self, path: str, login: str = "") -> str:
        """An address here."""
        return f"http://{login}127.0.0.1:{self._server.server_port}/{path}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def mjpeg(
    count: int, period_s: float = 0.0, *, login: str = "", scale: int = 1
) -> Callable[[BaseHTTPRequestHandler], None]:
    """So many JPEG pictures in one answer, one each `period_s`; then the answer ends."""
    pause = threading.Event()
    drawn = [bars(at).repeat(scale, axis=0).repeat(scale, axis=1) for at in range(count)]
    pictures = [cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes() for picture in drawn]

    def answer(request: BaseHTTPRequestHandler) -> None:
        want = "Basic " + base64.b64encode(login.encode()).decode()
        if login and request.headers.get("Authorization") != want:
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="camera"')
            request.end_headers()
            return
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        request.end_headers()
        for data in pictures:
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            request.wfile.write(head.encode() + data + b"\r\n")
            pause.wait(period_s)

    return answer


def folder_of(folder: Path) -> Callable[[BaseHTTPRequestHandler], None]:
    """The files of a folder; 404 for what is not there."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        path = folder / request.path.strip("/")
        if not path.is_file():
            request.send_error(404)
            return
        data = path.read_bytes()
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    return answer


class SilentServer:
    """Takes every connection, and then says nothing, or `trickle` for ever, a byte at a time."""

    def __init__(self, trickle: bytes = b"", period_s: float = 0.05) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._trickle, self._period_s = trickle, period_s
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        """Hang up."""
        self._stop.set()
        # A thread in accept() wakes only when somebody comes.
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        taken = []
        while not self._stop.is_set():
            connection, _ = self._listener.accept()
            taken.append(connection)
            sent = 0
            with suppress(OSError):
                while self._trickle and not self._stop.wait(self._period_s):
                    at = min(sent, len(self._trickle) - 1)
                    connection.sendall(self._trickle[at : at + 1])
                    sent += 1
        for connection in taken:
            connection.close()
