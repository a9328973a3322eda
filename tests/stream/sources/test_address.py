"""Passwords reach FFmpeg as it wants them, and people never."""

import pytest

from headrace.stream.sources.address import masked, parse, scrub


@pytest.mark.parametrize(
    ("given", "url", "shown"),
    [
        ("rtsp://cam/1", "rtsp://cam/1", "rtsp://cam/1"),
        ("RTSP://cam:554/1", "rtsp://cam:554/1", "rtsp://cam:554/1"),
        ("rtsp://me:pw@cam:554/1", "rtsp://me:pw@cam:554/1", "rtsp://me:***@cam:554/1"),
        ("rtsp://me@cam/1", "rtsp://me@cam/1", "rtsp://me@cam/1"),
        ("rtsp://me:p@ss:w/rd@cam/1", "rtsp://me:p%40ss%3Aw%2Frd@cam/1", "rtsp://me:***@cam/1"),
        ("rtsp://me:p%40ss%3Aw%2Frd@cam/1", "rtsp://me:p%40ss%3Aw%2Frd@cam/1", "rtsp://me:***@cam/1"),
        ("rtsp://me:100%@cam/1", "rtsp://me:100%25@cam/1", "rtsp://me:***@cam/1"),
        ("rtsp://me:a#b?c@cam:1/", "rtsp://me:a%23b%3Fc@cam:1/", "rtsp://me:***@cam:1/"),
        ("rtsp://me:pä ss@cam/1", "rtsp://me:p%C3%A4%20ss@cam/1", "rtsp://me:***@cam/1"),
        ("rtsp://a@b.org:pw@cam/1", "rtsp://a%40b.org:pw@cam/1", "rtsp://a%40b.org:***@cam/1"),
        ("rtsp://[fe80::1]:554/1", "rtsp://[fe80::1]:554/1", "rtsp://[fe80::1]:554/1"),
        ("rtsp://me:pw@[::1]/1", "rtsp://me:pw@[::1]/1", "rtsp://me:***@[::1]/1"),
        ("http://cam/x@y?mail=a@b.c", "http://cam/x@y?mail=a@b.c", "http://cam/x@y?mail=a@b.c"),
        ("udp://:9710", "udp://:9710", "udp://:9710"),
        ("udp://@:9710?reuse=1", "udp://:9710?reuse=1", "udp://:9710?reuse=1"),
        (
            "http://cam/v?user=me&password=pw1&x=2&Token=t%2F3",
            "http://cam/v?user=me&password=pw1&x=2&Token=t%2F3",
            "http://cam/v?user=me&password=***&x=2&Token=***",
        ),
        (
            "srt://cam:1?passphrase=longenough",
            "srt://cam:1?passphrase=longenough",
            "srt://cam:1?passphrase=***",
        ),
    ],
)
def test_an_address_is_quoted_for_ffmpeg_and_masked_for_people(given: str, url: str, shown: str) -> None:
    address = parse(given)
    assert address.url == url
    assert address.masked == masked(given) == shown
    assert repr(address) == f"Address({shown})"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("rtsp://cam/user=me_password=S_e-c_channel=1_stream=0.sdp", "user=me_password=***_channel=1_stream=0.sdp"),
        ("rtsp://cam/user=me&password=S_e-c&channel=1&stream=0.sdp", "user=me&password=***&channel=1&stream=0.sdp"),
        ("rtsp://cam/password=S_e-c&user=me", "password=***&user=me"),
        ("rtsp://cam/live/Psw=S_e-c/ch1", "live/Psw=***/ch1"),
        ("rtsp://cam/user=me_password=S_e-c_channel=1?x=2&pw=S_e-c", "user=me_password=***_channel=1?x=2&pw=***"),
        ("http://cam/v?loginuse=me&loginpas=S_e-c", "v?loginuse=me&loginpas=***"),
        ("http://cam/v?user=me_pwd=S_e-c", "v?user=me_pwd=***"),
        ("http://cam/v?pw=S_e-c&x=1", "v?pw=***&x=1"),
        ("http://cam/v?usr=me&psw=S/_e-c", "v?usr=me&psw=***"),
    ],
)
def test_passwords_that_cameras_take_in_the_path_or_under_other_names(given: str, shown: str) -> None:
    address = parse(given)
    assert address.url == given
    assert address.masked == f"{given.partition('cam/')[0]}cam/{shown}"
    secret = "S/_e-c" if "S/_e-c" in given else "S_e-c"
    assert scrub(f"open {given}: {secret} {secret} at 401", given) == f"open {address.masked}: *** *** at 401"


@pytest.mark.parametrize(
    "path", ["/user=me_channel=1_stream=0.sdp", "/cam/realmonitor?channel=1&subtype=0", "/a_b=c"]
)
def test_what_is_no_secret_is_shown(path: str) -> None:
    assert masked(f"rtsp://cam{path}") == f"rtsp://cam{path}"


def test_the_password_is_what_the_camera_knows() -> None:
    for url in ("rtsp://me:p@ss:w/rd@cam/1", "rtsp://me:p%40ss%3Aw%2Frd@cam/1"):
        address = parse(url)
        assert (address.user, address.password, address.host) == ("me", "p@ss:w/rd", "cam")


@pytest.mark.parametrize("host", ["10.0.0.1", "cam.lan", "localhost", "cam:554", "[::1]"])
def test_a_raw_password_that_reads_as_a_host_is_a_password_where_a_better_host_follows(host: str) -> None:
    address = parse(f"rtsp://me:s3cret@w/o@{host}/1")
    assert (address.user, address.password, address.path) == ("me", "s3cret@w/o", "/1")
    assert address.masked == f"rtsp://me:***@{host}/1"


def test_an_at_in_the_path_stays_there() -> None:
    assert parse("rtsp://me:pw@10.0.0.1/a@b.c").path == "/a@b.c"
    assert parse("rtsp://me:pw@cam/a?mail=a@b.c").host == "cam"


def test_a_password_that_reads_as_a_host_is_still_not_shown() -> None:
    shown = masked("rtsp://me:s3cret@part/of@cam/1")
    assert "s3cret" not in shown
    assert "of@" not in shown


@pytest.mark.parametrize("text", ["", "cam/1", "rtsp:/cam", "rtsp://me:pw@cam:port/1", "rtsp://cam:99999/1"])
def test_what_is_no_address_is_said_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="not an address") as caught:
        parse(text)
    assert "pw" not in str(caught.value)
    assert "pw" not in masked(text)


def test_masked_leaves_paths_alone() -> None:
    assert masked("clips/a@b.mp4") == "clips/a@b.mp4"


@pytest.mark.parametrize(
    "given", ["rtsp://me:p@ss:w/rd@cam/1?token=t0k/en", "rtsp://me:p%40ss%3Aw%2Frd@cam/1?token=t0k%2Fen"]
)
def test_scrub_removes_every_form_of_every_secret(given: str) -> None:
    text = f"open {given} and {parse(given).url}: p@ss:w/rd p%40ss%3Aw%2Frd p%40ss%3Aw/rd t0k/en t0k%2Fen at 401"
    left = scrub(text, given)
    assert left.count("rtsp://me:***@cam/1?token=***") == 2
    assert left.endswith("*** *** *** *** *** at 401")
    assert "ss" not in left
    assert "t0k" not in left


def test_scrub_of_text_without_secrets_changes_nothing() -> None:
    assert scrub("no route to cam", "rtsp://cam/1") == "no route to cam"
    assert scrub("Input/output error", "no url") == "Input/output error"
