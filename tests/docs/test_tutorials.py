"""What README and the tutorials tell to type works, in an empty folder, in the order in which it stands there."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def helper() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tutorial", Path(__file__).with_name("tutorial.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TUTORIAL: Any = helper()
PAGES = ["README.md"] + [
    f"docs/{name}.md" for name in ("dashboard", "first_run", "topology", "vertical", "what_you_have")
]
LONG = [
    f"docs/{name}.md"
    for name in ("adapting", "clusters", "distillation", "personal", "vertical_transfer", "your_own_parts")
]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_carried_out(page: str, tmp_path: Path) -> None:
    assert TUTORIAL.carry_out(ROOT / page, tmp_path) > 0


@pytest.mark.soak
@pytest.mark.parametrize("page", LONG)
def test_a_page_of_long_runs_is_carried_out(page: str, tmp_path: Path) -> None:
    assert TUTORIAL.carry_out(ROOT / page, tmp_path) > 0


def carried_out(text: str, folder: Path) -> int:
    page = folder / "page.md"
    page.write_text(text)
    (folder / "empty").mkdir(exist_ok=True)
    return TUTORIAL.carry_out(page, folder / "empty")


def test_a_page_may_prepare_name_and_leave_out(tmp_path: Path) -> None:
    text = (
        "<!-- before: echo 7 > seven -->\n<!-- where NUMBER is cat seven -->\n```sh\ntest NUMBER = 7  # it is\n```\n"
        "<!-- not run: it fails -->\n```sh\nfalse\n```\n```console\n$ test -e seven\nfalse\n```\n"
        "```python\nraise ValueError\n```\n<!-- run -->\n```python\nopen('eight', 'w')\n```\n"
    )
    assert carried_out(text, tmp_path) == 3
    assert (tmp_path / "empty" / "eight").exists()


def test_a_line_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page.md:3: false\nends with 1"):
        carried_out("A page.\n\n```sh\nfalse\n```\n", tmp_path)


def test_what_lasts_is_interrupted_at_the_end(tmp_path: Path) -> None:
    waiting = 'import signal as s; s.pthread_sigmask(s.SIG_BLOCK, [2]); open("there", "w"); s.sigwait([2])'
    lasts = f"python -c '{waiting}'"
    text = f"<!-- goes on -->\n```sh\n{lasts}\n```\n<!-- until it answers -->\n```sh\ntest -e there\n```\n"
    assert carried_out(text, tmp_path) == 2


def test_what_does_not_end_well_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ends with -2 when it is interrupted"):
        carried_out("<!-- goes on -->\n```sh\nsleep 100\n```\n", tmp_path)
