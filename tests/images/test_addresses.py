"""Which addresses are asked for an image: the names, and the networks that they lead to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.images.addresses import follow, is_public, read_address
from service.images.errors import ImageUrlRefused

HOSTS = ("cdn.example.org", "*.img.example.net")


def test_an_allowed_address_is_read_once_into_its_parts() -> None:
    target = read_address("https://CDN.example.org./a%20b.png?x=1#part", HOSTS)
    assert (target.secure, target.host, target.port, target.path) == (True, "cdn.example.org", 443, "/a%20b.png?x=1")
    assert read_address("http://x.y.img.example.net", HOSTS).path == "/"
    assert read_address("http://cdn.example.org:80/x", HOSTS).port == 80


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cdn.example.org/a.png",
        "//cdn.example.org/a.png",
        "gopher://cdn.example.org/_GET",
        "ftp://cdn.example.org/a.png",
        "file:///etc/passwd",
        "javascript://cdn.example.org/%0aalert(1)",
        "unix:///run/x.sock",
        "https://example.org/a.png",
        "https://img.example.net/a.png",  # the name itself is not below itself
        "https://evilimg.example.net/a.png",
        "https://.img.example.net/a.png",
        "https://a..img.example.net/a.png",
        f"https://{'a' * 64}.img.example.net/a.png",
        "https://cdn.example.org.evil.example/a.png",
        "https://user@cdn.example.org/a.png",
        "https://cdn.example.org@127.0.0.1/a.png",
        "https://cdn.example.org:secret@127.0.0.1/",
        "https://cdn.example.org:22/a.png",
        "https://cdn.example.org:443443/",
        "http://cdn.example.org:443/",
        "https://cdn.example.org\\@127.0.0.1/",
        "https://127.0.0.1\\.cdn.example.org/",
        "https://cdn.example.org\t/a.png",
        "https://cdn.example.org\r\nHost: x/",
        " https://cdn.example.org/a.png",
        "https://cdn.example.org/a b.png",
        "https://cdn\u3002example\u3002org/",
        "https://\u24d2dn.example.org/",
        "https://cdn.example.org/\u0000",
        "https://[::1/a.png",
        "https://cdn.example.org/" + "a" * 9000,
    ],
)
def test_no_other_address_is_read(url: str) -> None:
    with pytest.raises(ImageUrlRefused) as caught:
        read_address(url, HOSTS)
    assert "cdn.example.org" not in caught.value.message


def test_a_redirect_is_an_address_like_any_other() -> None:
    target = read_address("https://cdn.example.org/a/b.png", HOSTS)
    assert follow(target, "c.png", HOSTS).path == "/a/c.png"
    assert follow(target, "https://x.img.example.net/", HOSTS).host == "x.img.example.net"
    for location in ("", "http://cdn.example.org/", "//127.0.0.1/", "https://127.0.0.1/", "file:///etc/passwd"):
        if location:
            with pytest.raises(ImageUrlRefused):
                follow(target, location, HOSTS)
    assert follow(target, "", HOSTS) == target  # which then ends as too many


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "fe80::1"),
        *("fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "100::1"),
    ],
)
def test_networks_that_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::1", "::ffff:1.1.1.1"]
)
def test_networks_that_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_address_of_ipv4_is_as_public_in_whatever_it_is_wrapped(address: object) -> None:
    number = int(address)  # type: ignore[call-overload]
    public = is_public(ip_address(number))
    wrapped = [number, 0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]
    assert [is_public(ip_address(one)) for one in wrapped[1:]] == [public] * 3


@given(st.text(max_size=60))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    for url in (text, f"https://{text}", f"https://cdn.example.org{text}", f"https://{text}cdn.example.org/"):
        try:
            host = read_address(url, HOSTS).host
        except ImageUrlRefused:
            continue
        assert host == "cdn.example.org" or host.endswith(".img.example.net")
