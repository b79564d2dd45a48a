"""Verification of image bytes."""

from __future__ import annotations

import base64
import io
import warnings
from typing import Any

import pytest
from PIL import Image

from serve_app.errors import InvalidImage
from serve_app.images import ImagePolicy
from serve_app.images.decode import data_url_payload, inline_payload, verify
from tests.unit.serve_app.images.pictures import (
    data_url,
    many_scans,
    picture,
    png_header,
    run_length_bmp,
)

POLICY = ImagePolicy()


def animation(file_format: str) -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    file = io.BytesIO()
    frames[0].save(file, file_format, save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        pytest.param(picture("PNG"), "image/png", id="png"),
        pytest.param(picture("PNG", mode="RGBA"), "image/png", id="png with alpha"),
        pytest.param(picture("PNG", mode="P", transparency=0), "image/png", id="png palette, transparent"),
        pytest.param(picture("PNG", mode="LA"), "image/png", id="grey png with alpha"),
        pytest.param(picture("PNG", mode="I;16"), "image/png", id="16-bit png"),
        pytest.param(picture("PNG", mode="1"), "image/png", id="one-bit png"),
        pytest.param(picture("PNG", size=(1, 1)), "image/png", id="one pixel"),
        pytest.param(picture("JPEG"), "image/jpeg", id="jpeg"),
        pytest.param(picture("JPEG", progressive=True), "image/jpeg", id="progressive jpeg"),
        pytest.param(picture("JPEG", mode="CMYK"), "image/jpeg", id="cmyk jpeg"),
        pytest.param(animation("MPO"), "image/jpeg", id="several pictures in one jpeg"),
        pytest.param(picture("WEBP"), "image/webp", id="webp"),
        pytest.param(animation("WEBP"), "image/webp", id="moving webp"),
        pytest.param(picture("GIF"), "image/gif", id="gif"),
        pytest.param(animation("GIF"), "image/gif", id="moving gif"),
        pytest.param(picture("BMP"), "image/bmp", id="bmp"),
    ],
)
def test_media_type_is_what_the_data_is(data: bytes, media_type: str) -> None:
    assert verify(data, POLICY) == media_type


def test_declared_media_type_is_replaced_by_the_real_one() -> None:
    url = data_url(picture("JPEG"), "text/html;charset=utf-8")
    result = inline_payload(data_url_payload(url, POLICY), POLICY)
    assert result == data_url(picture("JPEG"), "image/jpeg")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="svg"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", id="postscript"),
        pytest.param(picture("TIFF"), id="tiff"),
        pytest.param(picture("PPM"), id="ppm"),
        pytest.param(picture("ICO"), id="ico"),
        pytest.param(b"hello", id="text"),
    ],
)
def test_other_format_never_reaches_its_parser(data: bytes) -> None:
    with pytest.raises(InvalidImage, match=r"not an image in an accepted format.*PNG, JPEG, WEBP, GIF, BMP"):
        verify(data, POLICY)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x89PNG\r\n\x1a\n", id="png signature only"),
        pytest.param(b"BM", id="bmp signature only"),
        pytest.param(b"RIFF\x10\x00\x00\x00WEBPVP8 ", id="webp signature only"),
        pytest.param(b"\xff\xd8\xff", id="jpeg signature only"),
    ],
)
def test_image_that_ends_after_its_signature_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImage, match="PNG, JPEG, WEBP, GIF, BMP"):
        verify(data, POLICY)


def test_format_that_the_operator_does_not_accept_is_refused_by_name() -> None:
    with pytest.raises(InvalidImage, match=r"^GIF images are not accepted\. Send one of: PNG, JPEG\.$"):
        verify(picture("GIF"), ImagePolicy(formats=("PNG", "JPEG")))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_image_is_refused(file_format: str, share: float) -> None:
    data = picture(file_format, size=(200, 200))
    with pytest.raises(InvalidImage, match=r"truncated|damaged"):
        verify(data[: int(len(data) * share)], POLICY)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_image_with_any_byte_flipped_never_raises_anything_else(file_format: str) -> None:
    data = picture(file_format, size=(24, 24))
    for place in range(0, len(data), max(1, len(data) // 200)):
        broken = bytearray(data)
        broken[place] ^= 0xFF
        try:
            verify(bytes(broken), POLICY)
        except InvalidImage as error:
            assert error.message  # noqa: PT017


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((5000, 5000), id="below the library's own limit"),
        pytest.param((10000, 10000), id="where the library warns"),
        pytest.param((20000, 20000), id="where the library refuses"),
        pytest.param((2**31 - 1, 2**31 - 1), id="largest possible"),
    ],
)
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_too_many_pixels_are_refused_from_the_header(size: tuple[int, int], action: Any) -> None:
    # There is no pixel data: a decoder that started would call it truncated.
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(InvalidImage, match="more than 16777216 pixels"):
            verify(png_header(*size), POLICY)


def test_image_at_the_pixel_limit_is_accepted_and_one_row_more_refused() -> None:
    policy = ImagePolicy(max_pixels=100)
    assert verify(picture(size=(10, 10)), policy) == "image/png"
    with pytest.raises(InvalidImage, match="more than 100 pixels"):
        verify(picture(size=(10, 11)), policy)


def test_shape_that_the_engine_cannot_take_is_refused() -> None:
    assert verify(picture(size=(200, 1)), POLICY) == "image/png"
    with pytest.raises(InvalidImage, match="200 times"):
        verify(picture(size=(201, 1)), POLICY)


def test_jpeg_of_very_many_scans_is_refused() -> None:
    assert verify(many_scans(20), POLICY) == "image/jpeg"
    with pytest.raises(InvalidImage, match="more than 100 scans"):
        verify(many_scans(200), POLICY)


def test_run_length_compressed_bmp_is_refused() -> None:
    data = run_length_bmp()
    Image.open(io.BytesIO(data)).load()  # It is a valid image.
    with pytest.raises(InvalidImage, match="Run-length"):
        verify(data, POLICY)


def test_size_limit_counts_bytes_before_base64_exactly() -> None:
    data = picture()
    for length in range(len(data), len(data) + 3):
        url = data_url(data.ljust(length, b"\0"))
        assert data_url_payload(url, ImagePolicy(max_bytes=length))
        with pytest.raises(InvalidImage, match=f"more than {length - 1} bytes"):
            data_url_payload(url, ImagePolicy(max_bytes=length - 1))


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:,",
        "data:image/png",
        "data:image/png;base64",
        "data:image/png,AAAA",
        "data:image/png;base64,",
        "data:image/png;charset=utf-8,hello",
    ],
)
def test_data_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(InvalidImage, match="data: URL"):
        data_url_payload(url, POLICY)


GOOD = base64.b64encode(picture()).decode()


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("!!!!", id="other characters"),
        pytest.param("A", id="one character"),
        pytest.param("====", id="padding only"),
        pytest.param(GOOD.rstrip("=")[:-1], id="no padding"),
        pytest.param(GOOD[:76] + "\n" + GOOD[76:], id="line breaks"),
        pytest.param(GOOD + "====", id="too much padding"),
        pytest.param(GOOD[:8] + "==" + GOOD[8:], id="padding inside"),
        pytest.param("-_-_", id="url alphabet"),
        pytest.param("图图图图", id="not ascii"),
        pytest.param("\ud800AAA", id="lone surrogate"),
        pytest.param("AAA\0", id="zero byte"),
    ],
)
def test_payload_that_is_not_base64_is_refused(payload: str) -> None:
    with pytest.raises(InvalidImage, match="not valid base64"):
        inline_payload(payload, POLICY)
