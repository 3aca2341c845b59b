"""When `glasshouse look` offers to open a browser."""

import pytest

from lab.stack import look


@pytest.mark.parametrize(
    ("is_terminal", "display", "has_browser", "offered"),
    [(True, ":0", True, True), (False, ":0", True, False), (True, "", True, False), (True, ":0", False, False)],
)
def test_opening_a_browser_is_offered_only_if_one_can_be_opened(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, display: str, has_browser: bool, offered: bool
) -> None:
    def get() -> None:
        if not has_browser:
            raise look.webbrowser.Error

    monkeypatch.setattr(look.sys, "platform", "linux")
    monkeypatch.setattr(look.sys, "stdin", type("In", (), {"isatty": lambda _: is_terminal})())
    monkeypatch.setattr(look.sys, "stdout", type("Out", (), {"isatty": lambda _: is_terminal})())
    monkeypatch.setattr(look.webbrowser, "get", get)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    assert look.can_open() is offered
