"""The README's pictures: their sizes, their makers, and that a phone can read the QR code's picture."""

import re
import xml.etree.ElementTree as ET

import pytest

from docs.pictures import make
from docs.pictures.terminal import terminal_as_svg
from tests.kit.processes import ROOT

PICTURES = {path.name: path for path in make.FOLDER.iterdir() if path.suffix not in {".py", ".pyc", ""}}
# flow.svg is drawn by hand.
DRAWN = {"flow.svg"}
MAX_BYTES = 300_000
SVG = "{http://www.w3.org/2000/svg}"


def test_each_picture_has_a_maker() -> None:
    assert set(PICTURES) == {*make.MAKERS, *DRAWN}


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in PICTURES.values()) <= MAX_BYTES


def test_the_pictures_of_the_readme_exist_and_have_alternative_texts() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for text, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", readme):
        assert (ROOT / path).is_file()
        assert len(text.split()) >= 3, path


@pytest.mark.parametrize("name", sorted(name for name in PICTURES if name.endswith(".svg")))
def test_an_svg_says_what_it_shows_and_loads_nothing(name: str) -> None:
    text = PICTURES[name].read_text(encoding="utf-8")
    picture = ET.fromstring(text)
    for element in ("title", "desc"):
        assert len((picture.findtext(SVG + element) or "").split()) >= 3
    # Other addresses than the namespace's would be fetched, which GitHub forbids.
    assert re.findall(r"(?:href|src)=|url\((?!#)|@import", text) == []


def test_a_picture_contains_nothing_of_this_machine() -> None:
    assert "http://192.0.2.10:9000/activate" in PICTURES["login.svg"].read_text(encoding="utf-8")


def test_a_terminal_becomes_rectangles_and_text_in_its_place() -> None:
    screen = "\x1b[30;47m█▀ \x1b[0m \x1b[1mA <b>\x1b[0m\n ▄▄x"
    picture = ET.fromstring(terminal_as_svg(screen, columns=10, title="a title", description="a text"))
    paths = [path.get("d") for path in picture.iter(f"{SVG}path")]
    # The background of three cells; then the blocks of each colour.
    assert paths[0] == "M0 0h27v18h-27z"
    assert "M0 0h9v9h-9zM0 9h9v9h-9zM9 0h9v9h-9z" in paths
    assert "M9 27h18v9h-18z" in paths
    texts = [(text.text, text.get("x"), text.get("y"), text.get("font-weight")) for text in picture.iter(f"{SVG}text")]
    assert texts == [("A <b>", "36", "14", "bold"), ("x", "27", "32", None)]
