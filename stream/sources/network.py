"""Video that comes over a network: RTSP and RTSPS, HTTP MJPEG, HLS, MPEG-TS over UDP."""

import errno
import os
import time
from typing import Literal

from av import error as av_error

from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.frame import Packet
from headrace.stream.sources.address import parse, scrub
from headrace.stream.sources.base import SourceInfo
from headrace.stream.sources.container import Demuxer
from headrace.stream.sources.lag import Lag
from headrace.stream.sources.resolve import check_name

Transport = Literal["tcp", "udp"]

# FFmpeg would watch a stream for seconds before it gives the first picture; what it wants to find out stands
# in the RTSP answer and in the first packets.
_OPTIONS: dict[str, dict[str, str]] = {
    "rtsp": {"analyzeduration": "0", "probesize": "32", "allowed_media_types": "video"},
    "rtsps": {"analyzeduration": "0", "probesize": "32", "allowed_media_types": "video"},
    # A live playlist is joined at its newest piece.
    "http": {"analyzeduration": "0", "live_start_index": "-1"},
    "https": {"analyzeduration": "0", "live_start_index": "-1"},
    # Without the first, a reader that was late once gets an error for ever.
    "udp": {"analyzeduration": "0", "overrun_nonfatal": "1", "fifo_size": "50000"},
}
_FORMATS = {"udp": "mpegts"}
_LIMITS_S = (10.0, 6.0)
_LAG_LIMIT_S = 5.0
_PLAYLIST_LIMITS_S = (10.0, 20.0)
"""A playlist's next piece comes when it is whole: every 2 to 10 s."""
_RECORDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")

_SRT = (
    "PyAV's FFmpeg has no SRT: run `srt-live-transmit '{url}' udp://127.0.0.1:9710` (Debian: srt-tools) "
    "and open udp://127.0.0.1:9710"
)


class NetworkSource:
    """A camera or server. Every loss is a SourceError, which `Retrying` answers by opening it again.

    What it raises never holds the password, nor an exception of FFmpeg's that does.

    Args:
        url: the address; a password in it may be percent-encoded or raw.
        transport: what RTSP sends pictures over. TCP loses none; UDP does not fall behind on a bad link.
        limits_s: for opening and for waiting on the next packet, in seconds, whatever the other side does.

    Raises:
        ValueError: the address is none that this source reads.
    """

    def __init__(
        self, url: str, *, transport: Transport = "tcp", limits_s: tuple[float, float] | None = None
    ) -> None:
        self._address = address = parse(url)
        if address.scheme not in (*_OPTIONS, "srt"):
            raise ValueError(f"{address.scheme}:// is not read; allowed: {', '.join((*_OPTIONS, 'srt'))}")
        if transport not in ("tcp", "udp"):
            raise ValueError(f"transport is {transport!r}; allowed: tcp, udp")
        if not address.host and address.scheme != "udp":
            raise ValueError(f"{address.masked}: no host in this address")
        self._transport: Transport = "tcp" if address.scheme == "rtsps" else transport
        file_name = address.path.partition("?")[0].lower()
        self._is_recording = address.scheme in ("http", "https") and file_name.endswith(_RECORDINGS)
        self._limits_s = limits_s or (_PLAYLIST_LIMITS_S if file_name.endswith(".m3u8") else _LIMITS_S)
        self._demuxer: Demuxer | None = None
        self._lag: Lag | None = None
        self._heard_s = 0.0

    @property
    def name(self) -> str:
        """The address without its password."""
        return self._address.masked

    @property
    def is_live(self) -> bool:
        """False for a recording that is fetched over HTTP."""
        return not self._is_recording

    def open(self) -> SourceInfo:
        """Open it.

        Raises:
            RefusedError: it says no: the password, the path, the protocol.
            SourceError: it does not answer, or not with video.
        """
        self.close()
        if self._address.scheme == "srt":
            raise RefusedError(f"{self.name}: {_SRT.format(url=self._address.masked)}")
        started = time.monotonic()
        failure: SourceError
        try:
            if not self._goes_through_proxy:
                check_name(self._address.host, limit_s=self._limits_s[0])
            return self._opened(started + self._limits_s[0])
        except SourceError as error:
            failure = type(error)(f"{self.name}: {error}")
        except av_error.FFmpegError as error:
            failure = self._failed_to_open(error, time.monotonic() - started)
        # Not within "except": the exception would carry FFmpeg's, and that one the password.
        self.close()
        raise failure

    def read(self) -> Packet | None:
        """The next packet; None at the end of a recording.

        Raises:
            SourceError: the connection is lost, or does not keep up.
        """
        if self._demuxer is None:
            raise ValueError("read before open")
        started_s = time.monotonic()
        failure: SourceError
        try:
            packet = self._demuxer.read()
            waited_s = time.monotonic() - started_s
            # A packet that comes only when half of the limit is over is the last one, which the parser still held.
            silent = waited_s > 0.45 * self._limits_s[1]
            if not silent:
                self._heard_s = started_s + waited_s
            if packet is not None and packet.pts_s is not None and self._lag is not None:
                self._lag.of(packet.arrival_ns, packet.pts_s, waited_s)
            if packet is not None or self._ends:
                return packet
            # A playlist that has nothing new ends, for FFmpeg, when the time is over.
            failure = self._lost(self._silence if silent else "the other side closed the connection")
        except SourceError as error:
            failure = type(error)(f"{self.name}: {error}")
        except av_error.FFmpegError as error:
            failure = self._failed_to_read(error)
        raise failure

    def close(self) -> None:
        """Close the connection."""
        if self._demuxer is not None:
            self._demuxer.close()
            self._demuxer = None

    def __repr__(self) -> str:
        return f"NetworkSource({self.name})"

    @property
    def _ends(self) -> bool:
        """Whether this has an end: a recording, or a playlist that is complete."""
        assert self._demuxer is not None, "it is open"
        over_http = self._address.scheme in ("http", "https")
        return self._is_recording or (over_http and self._demuxer.duration_s is not None)

    @property
    def _silence(self) -> str:
        return f"no picture for {time.monotonic() - self._heard_s:.1f} s"

    @property
    def _goes_through_proxy(self) -> bool:
        return self._address.scheme in ("http", "https") and bool(os.environ.get("http_proxy"))

    def _opened(self, deadline: float) -> SourceInfo:
        options = dict(_OPTIONS[self._address.scheme])
        if self._address.scheme in ("rtsp", "rtsps"):
            options["rtsp_transport"] = self._transport
        if self._is_recording:
            options.clear()
        self._demuxer = Demuxer(
            self._address.url,
            format=_FORMATS.get(self._address.scheme),
            options=options,
            limits_s=(max(0.1, deadline - time.monotonic()), self._limits_s[1]),
            is_live=self.is_live,
        )
        # What comes over HTTP comes in pieces, or without times.
        self._lag = Lag(_LAG_LIMIT_S) if self._address.scheme in ("rtsp", "rtsps", "udp") else None
        info = self._demuxer.open()
        self._heard_s = time.monotonic()
        return info

    def _failed_to_open(self, error: av_error.FFmpegError, took_s: float) -> SourceError:
        place = self._address.host + (f":{self._address.port}" if self._address.port else "")
        silent = isinstance(error, (av_error.ExitError, TimeoutError))
        # What was cut off in the middle of a header comes as invalid data.
        if silent or (isinstance(error, av_error.InvalidDataError) and took_s > 0.45 * self._limits_s[0]):
            return self._lost(f"no answer within {took_s:.1f} s: is it switched on and reachable?")
        if isinstance(error, (av_error.HTTPUnauthorizedError, av_error.HTTPForbiddenError)):
            return self._refused(self._about_login())
        if isinstance(error, av_error.HTTPNotFoundError):
            return self._refused("the server has no such stream (404): check the path after the host")
        if error.errno == errno.EPROTONOSUPPORT and self._address.scheme == "rtsp":
            other = "udp" if self._transport == "tcp" else "tcp"
            return self._refused(f"the server does not send over {self._transport.upper()}: try transport {other}")
        if isinstance(error, ConnectionRefusedError):
            return self._lost(f"nothing listens at {place}: is it switched on, is the port right?")
        if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return self._lost(f"no way to {place} from here: check the network")
        if isinstance(error, av_error.InvalidDataError):
            say = self._refused if self._address.scheme in ("http", "https") else self._lost
            return say("it answers, but not with video: check the path after the host")
        if isinstance(error, av_error.ProtocolNotFoundError):
            return self._refused(f"PyAV's FFmpeg does not speak {self._address.scheme}")
        return self._lost(f"could not be opened: {self._own_words(error)}")

    def _failed_to_read(self, error: av_error.FFmpegError) -> SourceError:
        if isinstance(error, (av_error.ExitError, TimeoutError)):
            return self._lost(self._silence)
        if isinstance(error, (ConnectionError, BrokenPipeError)) or error.errno == errno.EIO:
            return self._lost("the connection broke off")
        return self._lost(f"could not be read: {self._own_words(error)}")

    def _about_login(self) -> str:
        if self._address.password:
            return "the user name or the password is wrong (401): check both"
        scheme, host = self._address.scheme, self._address.host
        return f"it asks for a user name and a password: write {scheme}://USER:PASSWORD@{host}…"

    def _own_words(self, error: av_error.FFmpegError) -> str:
        return scrub(error.strerror or type(error).__name__, self._address.url)

    def _lost(self, why: str) -> SourceError:
        return SourceError(f"{self.name}: {why}")

    def _refused(self, why: str) -> RefusedError:
        return RefusedError(f"{self.name}: {why}")
