"""Addresses with passwords in them: quoted for FFmpeg, masked for people."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

_MASK = "***"
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]@:/?#\s]*)(?::(?P<port>\d{0,5}))?(?P<path>[/?#].*)?", re.DOTALL
)
_SECRET_NAME = r"[\w.-]*(?:pas|psw|pw|token|secret|key|auth|sig|credential)[\w.-]*"
_QUERY_SECRET = re.compile(rf"(?P<key>[?&;_]{_SECRET_NAME}=)(?P<value>[^&;#]*)", re.IGNORECASE)
# Some cameras take the login within the path, its parts joined by "&" or "_": /user=me_password=pw_channel=1.sdp
_PATH_SECRET = re.compile(rf"(?P<key>[/&;_]{_SECRET_NAME}=)(?P<value>(?:(?!_[A-Za-z0-9]+=)[^&;#/])*)", re.IGNORECASE)
_LOGIN = re.compile(r":.*@", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address:
    """A URL taken apart. `url` is for FFmpeg, `masked` for people; `repr` shows the masked one."""

    scheme: str
    host: str
    """Without the brackets of an IPv6 address; "" where there is none."""
    port: int | None
    path: str
    """Everything after the host: path, query, fragment."""
    user: str = ""
    password: str = ""
    """As the camera knows it: not percent-encoded."""

    @property
    def url(self) -> str:
        """The address with user and password percent-encoded, which is what FFmpeg needs."""
        return f"{self.scheme}://{self._login(quote(self.password, safe=''))}{self._place}{self.path}"

    @property
    def masked(self) -> str:
        """The address with nothing secret in it."""
        way, query = self._way_and_query
        path = _PATH_SECRET.sub(rf"\g<key>{_MASK}", way) + _QUERY_SECRET.sub(rf"\g<key>{_MASK}", query)
        if self.password and "@" in path.partition("?")[0]:
            # A raw password with "@" and "/" in it can be read as host and path: show nothing of that.
            path = f"/{_MASK}@" + path.rpartition("@")[2]
        return f"{self.scheme}://{self._login(_MASK)}{self._place}{path}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password and every secret of path and query, in each form they may be met in; the longest first."""
        way, query = self._way_and_query
        found = {self.password}
        found |= {match["value"] for match in (*_PATH_SECRET.finditer(way), *_QUERY_SECRET.finditer(query))}
        forms = {form for one in found for form in (one, unquote(one), quote(one, safe=""), quote(one))}
        return tuple(sorted(forms - {""}, key=len, reverse=True))

    @property
    def _way_and_query(self) -> tuple[str, str]:
        """The path up to the "?", and what follows, with it."""
        way, mark, query = self.path.partition("?")
        return way, mark + query

    def _login(self, password: str) -> str:
        user = quote(self.user, safe="")
        if self.password:
            return f"{user}:{password}@"
        return f"{user}@" if user else ""

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Address({self.masked})"


def parse(url: str) -> Address:
    """Take a URL apart. A password may stand in it percent-encoded, or raw as in `rtsp://me:p@ss:w/rd@host/1`.

    Raises:
        ValueError: it is no URL; the message does not repeat it, since a password may be in it.
    """
    whole = _SCHEME.fullmatch(url.strip())
    if whole is None:
        raise ValueError("not an address: it must look like rtsp://user:password@host:port/path")
    rest = whole["rest"]
    found = _host_of(rest)
    if found is None:
        raise ValueError(f"not an address: no host after {whole['scheme']}:// (or the port is not a number)")
    user, _, password = rest[: max(0, found.start() - 1)].partition(":")
    return Address(
        scheme=whole["scheme"].lower(),
        host=found["host"].strip("[]"),
        port=int(found["port"]) if found["port"] else None,
        path=found["path"] or "",
        user=_plain(user),
        password=_plain(password),
    )


def _host_of(rest: str) -> re.Match[str] | None:
    """The host, port and path in what follows the scheme; what stands before it and its "@" is the login."""
    starts = (0, *(at.end() for at in re.finditer("@", rest)))
    possible = [at for at in (_AUTHORITY.fullmatch(rest, start) for start in starts) if at]
    possible = [at for at in possible if int(at["port"] or 0) < 65536]
    if not possible:
        return None
    first = possible[0]
    # A raw password may hold "@" and "/" itself: in me:p@ss/w@10.0.0.1/x, "ss" could be the host, but is none.
    if first.start() > 0 and not _is_surely_host(first):
        return next((at for at in possible if "?" not in rest[: at.start()] and _is_surely_host(at)), first)
    return first


def _is_surely_host(place: re.Match[str]) -> bool:
    return bool(place["port"]) or place["host"] == "localhost" or any(mark in place["host"] for mark in ".:")


def masked(url: str) -> str:
    """The address for people: without the secrets in login, path and query; other text is unchanged."""
    if _SCHEME.fullmatch(url.strip()) is None:
        return url
    try:
        return parse(url).masked
    except ValueError:
        return f"{url.partition('://')[0]}://{_MASK}"


def may_hold_login(text: str) -> bool:
    """Whether a password may be in a text that is no URL: `me:pw@camera/1`, `rtsp:/me:pw@camera/1`."""
    return _SCHEME.fullmatch(text) is None and _LOGIN.search(text) is not None


def scrub(text: str, url: str) -> str:
    """`text` without any form of the secrets of `url`: for messages that other people's code wrote."""
    text = text.replace(url, masked(url))
    try:
        address = parse(url)
    except ValueError:
        return text
    text = text.replace(address.url, address.masked)
    for secret in address.secrets:
        text = text.replace(secret, _MASK)
    return text


def _plain(text: str) -> str:
    """Percent-decoded if all of its "%" are escapes; a raw "100%" stays what it is."""
    return text if re.search(r"%(?![0-9A-Fa-f]{2})", text) else unquote(text)
