"""A camera on this machine: V4L2 on Linux, AVFoundation on macOS, DirectShow on Windows."""

import errno
import sys
import time
from fractions import Fraction
from typing import Any, cast

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.video.stream import VideoStream

from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.frame import Codec, Packet
from headrace.stream.picture import Size
from headrace.stream.sources.base import SourceInfo
from headrace.stream.sources.camera_mode import FFMPEG_NAMES, Mode, Wanted, choose_mode
from headrace.stream.sources.cameras import Camera, camera_driver, cameras_here, find_camera, problem_of

# FFmpeg ignores its time limit inside a blocking V4L2 read, so a camera that stalls would hold the thread for
# ever. Opened without blocking, every read returns at once and we wait ourselves.
_AVFMT_FLAG_NONBLOCK = "4"
_POLL_S = 0.004
_MOST_GLITCHES = 30

# What differs between the systems: how FFmpeg wants the camera named, and which option sets the pixel format.
# DirectShow has none that av can reach: it takes whichever format has the size and rate.
_ADDRESS = {"v4l2": "{}", "avfoundation": "{}:none", "dshow": "video={}"}
_FORMAT_OPTION = {"v4l2": "input_format", "avfoundation": "pixel_format"}


class WebcamSource:
    """Packets of a camera on this machine, as they come.

    Args:
        device: an index (0), a path (/dev/video0), or a name in any case ("HD Webcam"; a part of it will do
            where only one camera has it). A name finds the camera again when it comes back as another path.
        size: (width, height) in pixels to ask for; without it the smooth mode nearest to 1280x720.
        fps: the rate to ask for; without it 30, or what the camera has nearest to that.
        pixel_format: "mjpeg", "yuyv", or another that the camera lists; without it raw where that is fast.
        timeout_s: how long it may take to open, and how long it may go without a picture.
    """

    is_live = True

    def __init__(
        self,
        device: int | str,
        *,
        size: Size | None = None,
        fps: float | None = None,
        pixel_format: str | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self.name = f"/dev/video{device}" if sys.platform == "linux" and str(device).isdecimal() else str(device)
        self.glitches = 0
        """How many pictures the driver spoilt since this source was made; they are left out."""
        self._device = device
        self._wanted = Wanted(size=size, fps=fps, pixel_format=pixel_format)
        self._timeout_s = timeout_s
        self._was_up = False
        self._container: InputContainer | None = None
        self._codec: Codec | None = None
        self._first_pts: int | None = None

    def open(self) -> SourceInfo:
        """Open the camera in the mode nearest to what was asked for; `granted` says which that is.

        Raises:
            RefusedError: there is no such camera, it is busy, or it may not be used. Once it was up this is a
                SourceError, because a camera that was there comes back.
            SourceError: it could not be opened.
        """
        self.close()
        try:
            camera = find_camera(self._device)
            mode = choose_mode(camera.formats, self._wanted)
            self._container = self._opened(camera, mode)
        except RefusedError as error:
            raise self._refusal(str(error)) from error
        except OSError as error:
            raise self._refusal(f"{problem_of(error)}; {cameras_here()}") from error
        stream = self._container.streams.video[0]
        context = stream.codec_context
        context.flags |= Flags.copy_opaque
        fps = float(stream.average_rate) if stream.average_rate else None
        self._codec = Codec(name=context.name, context=context, fps=fps, intra_only=True)
        self._first_pts = None
        self._was_up = True
        return SourceInfo(
            width=context.width,
            height=context.height,
            codec=context.name,
            fps=fps,
            granted=_granted((context.width, context.height), mode.fourcc or context.name, fps, self._wanted),
        )

    def read(self) -> Packet:
        """The next picture.

        Raises:
            SourceError: none came within the time limit, the camera is gone, or it spoils every picture.
        """
        deadline = time.monotonic() + self._timeout_s
        glitches_before = self.glitches
        while True:
            packet = self._poll()
            arrival_ns = time.monotonic_ns()
            if packet is not None:
                return self._copied(packet, arrival_ns)
            spoilt = self.glitches - glitches_before
            if spoilt >= _MOST_GLITCHES or (spoilt and time.monotonic() > deadline):
                raise SourceError(f"camera {self.name}: the driver spoilt {spoilt} pictures in a row")
            if time.monotonic() > deadline:
                raise SourceError(f"camera {self.name}: no picture for {self._timeout_s:g} s")
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Close the camera. Safe to call twice."""
        if self._container is not None:
            self._container.close()
        self._container = self._codec = None

    def _opened(self, camera: Camera, mode: Mode) -> InputContainer:
        driver = camera_driver()
        width, height = mode.size
        # All three are always set: what a driver is left at by the program before us can be 5 fps.
        options = {
            "fflags": _AVFMT_FLAG_NONBLOCK,
            "video_size": f"{width}x{height}",
            "framerate": str(Fraction(mode.fps).limit_denominator(1001)),
            # Nothing is to be found out by reading on: the parameters are those we asked for.
            "fpsprobesize": "0",
            "max_ts_probe": "0",
            "probesize": "32",
        }
        if mode.fourcc and driver in _FORMAT_OPTION:
            options[_FORMAT_OPTION[driver]] = FFMPEG_NAMES[mode.fourcc]
        # A guess at what is in MJPG: without it FFmpeg reads on to find that out, without a pause between two reads,
        # until a picture comes. The decoder goes by the picture.
        guess: Any = [{"pixel_format": "yuvj422p"}] if options.get("input_format") == "mjpeg" else None
        address = _ADDRESS[driver].format(camera.path)
        try:
            return av.open(address, format=driver, options=options, stream_options=guess, timeout=self._timeout_s)
        except av.error.ExitError as error:
            text = f"camera {self.name}: no picture within {self._timeout_s:g} s of opening it"
            raise SourceError(text) from error
        except av.error.ArgumentError as error:
            refused = f"the driver refused {width}x{height} {mode.fourcc} {mode.fps:g} fps"
            raise self._refusal(refused) from error
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error

    def _refusal(self, why: str) -> SourceError:
        return (SourceError if self._was_up else RefusedError)(f"camera {self.name}: {why}")

    def _poll(self) -> "av.Packet[VideoStream] | None":
        """A picture, where one is there; spoilt ones are counted and left out."""
        if self._container is None:
            raise SourceError(f"camera {self.name}: not open")
        try:
            packet = next(self._container.demux(video=0), None)
        except av.error.BlockingIOError:
            return None
        except av.error.FFmpegError as error:
            if error.errno not in (errno.EINVAL, errno.EIO):
                why = problem_of(OSError(error.errno, error.strerror))
                raise SourceError(f"camera {self.name}: {why}") from error
            packet = None
        if packet is None or packet.size == 0:
            # The driver marked the buffer as bad (a glitch on the USB line): FFmpeg gives an empty packet.
            self.glitches += 1
            return None
        return packet

    def _copied(self, packet: "av.Packet[VideoStream]", arrival_ns: int) -> Packet:
        assert self._codec is not None
        # The data is the driver's own memory. A copy gives it back at once, so that the camera never runs out
        # of buffers, and may be read after the camera is closed, when that memory is gone.
        data = av.Packet(packet.size)
        data.update(cast(bytes, packet))  # takes any buffer
        data.time_base, data.is_keyframe = packet.time_base, True
        if packet.pts is not None:
            # The driver's clock began when the machine did; ours begins with the first picture.
            if self._first_pts is None:
                self._first_pts = packet.pts
            data.pts = data.dts = packet.pts - self._first_pts
        return Packet(
            data=data,
            codec=self._codec,
            is_keyframe=True,
            pts_s=None if data.pts is None else float(data.pts * data.time_base),
            arrival_ns=arrival_ns,
        )


def _granted(size: Size, pixel_format: str, fps: float | None, wanted: Wanted) -> str:
    """ "1280x720 MJPG 30 fps (asked 1920x1080)": the mode, and what of it was asked for differently."""
    asked = []
    if wanted.size and wanted.size != size:
        asked.append(f"{wanted.size[0]}x{wanted.size[1]}")
    if wanted.fps and fps and abs(wanted.fps - fps) > 0.05:
        asked.append(f"{wanted.fps:g} fps")
    rate = f" {fps:g} fps" if fps else ""
    return f"{size[0]}x{size[1]} {pixel_format}{rate}" + (f" (asked {' '.join(asked)})" if asked else "")
