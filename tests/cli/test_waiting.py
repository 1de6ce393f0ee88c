"""A sign of life: none for what is quick, none without a terminal, gone at the end, and never after it."""

import threading

import pytest

from p2pfl.cli import waiting as module
from p2pfl.cli.waiting import Sign, each, waiting


class Terminal:
    """Looks like one to whoever asks stderr."""

    def __init__(self, stream: object) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return (lambda: True) if name == "isatty" else getattr(self._stream, name)


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the test itself: between its phases the capture takes stderr back."""
    monkeypatch.setattr(module.sys, "stderr", Terminal(module.sys.stderr))
    monkeypatch.setenv("TERM", "xterm")


def test_what_is_quick_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    at_a_terminal(monkeypatch)
    with waiting("quick"):
        pass
    assert capsys.readouterr() == ("", "")


def test_what_takes_long_says_what_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.0)
    at_a_terminal(monkeypatch)
    shown, show = threading.Event(), Sign.show

    def showing(sign: Sign) -> None:
        show(sign)
        shown.set()

    monkeypatch.setattr(Sign, "show", showing)
    with waiting("verifying", total=3) as sign:
        assert shown.wait(60)
        sign.advance()
    assert "verifying" in capsys.readouterr().err


def test_without_a_terminal_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.0)
    assert list(each([1, 2, 3], "counting")) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_a_sign_that_comes_too_late_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    sign = Sign("late", None)
    sign.hide()
    sign.show()
    assert capsys.readouterr() == ("", "")
