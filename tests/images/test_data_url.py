"""Images in the request itself: what is taken, what is refused, and that no two readers would differ."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadInput
from service.images.data_url import from_base64, from_data_url, is_data_url, media_type_of, to_data_url
from service.images.errors import ImageTooLarge

MOST = 1000


@given(st.binary(min_size=1, max_size=MOST))
def test_what_is_written_is_read(data: bytes) -> None:
    assert from_data_url(to_data_url(data), MOST) == data
    encoded = base64.b64encode(data).decode()
    assert from_base64(encoded, MOST) == from_base64(encoded.rstrip("="), MOST) == data
    assert from_base64(base64.urlsafe_b64encode(data).decode(), MOST) == data
    spaced = "\r\n".join(encoded[at : at + 7] for at in range(0, len(encoded), 7))
    assert from_base64(spaced, MOST) == data
    quoted = encoded.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    assert from_data_url(f"DATA:;Base64,{quoted}", MOST) == data


@given(st.text(max_size=200))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    for url in (text, f"data:{text}", f"data:image/png;base64,{text}"):
        try:
            data = from_data_url(url, MOST) if is_data_url(url) else from_base64(url, MOST)
        except BadInput as error:
            assert error.code in ("invalid_request", "image_too_large")
        else:
            assert 0 < len(data) <= MOST


@pytest.mark.parametrize(
    "url",
    [
        *("data:", "data:,", "data:image/png;base64", "data:image/png,AAAA", "data:image/png;base64,"),
        *("data:image/png;base64,A", "data:image/png;base64,AA=A", "data:image/png;base64,AAAA====AAAA"),
        *("data:image/png;base64,AAAA!AAA", "data:image/png;base64,AA\u00e9A", "data:" + "x" * 300 + ";base64,AAAA"),
    ],
)
def test_what_is_no_base64_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        from_data_url(url, MOST)


def test_the_limit_holds_to_the_byte_before_anything_is_decoded() -> None:
    assert len(from_base64(base64.b64encode(bytes(MOST)).decode(), MOST)) == MOST
    for size in (MOST + 1, MOST + 3, 10 * MOST):
        encoded = base64.b64encode(bytes(size)).decode()
        with pytest.raises(ImageTooLarge):
            from_base64(encoded, MOST)
        with pytest.raises(ImageTooLarge):
            from_data_url(f"data:;base64,{encoded}", MOST)
    with pytest.raises(ImageTooLarge):
        from_data_url("data:;base64," + "%" * 10 * MOST, MOST)


def test_a_type_is_what_the_bytes_say() -> None:
    assert media_type_of(b"\xff\xd8\xff\xe0") == "image/jpeg"
    assert media_type_of(b"RIFF0000WEBP") == "image/webp"
    assert media_type_of(b"<svg/>") == "application/octet-stream"
