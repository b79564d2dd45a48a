"""uv looks where pip looks."""

from __future__ import annotations

from scripts.lock import sources


def test_configuration_of_pip_becomes_variables_of_uv() -> None:
    configured = (
        "global.extra-index-url='https://a.example/simple https://b.example/simple'\n"
        "global.find-links='/wheels /more'\n"
        "global.timeout='60'\n"
        ":env:.index-url='https://mirror.example/simple'\n"
    )

    assert sources(configured) == {
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
    }


def test_without_configuration_uv_is_left_alone() -> None:
    assert sources("") == {}


def test_variable_goes_before_a_file() -> None:
    configured = ":env:.find-links='/of-the-variable'\nglobal.find-links='/of-the-file'\n"

    assert sources(configured) == {"UV_FIND_LINKS": "/of-the-variable"}
