"""`make pictures`: make the pictures of the README from the running programs.

Runs `demo.py`, so the ports of `make run` must be free, or chosen by PORT and MOCK_ISSUER_PORT. Needs Chromium and
tmux. `flow.svg` is written by hand.
"""

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from docs.pictures.terminal import terminal_as_svg

FOLDER = Path(__file__).parent
_ROOT = FOLDER.parent.parent
_BIN = Path(sys.executable).parent
_DEADLINE_SECONDS = 60
_POLL_SECONDS = 0.2
_WIDTH = 1280
# Twice the pixels, so that text is sharp on today's screens.
_PIXELS_PER_UNIT = 2
_COLUMNS, _ROWS = 80, 24
# A terminal's picture has a QR code, which a phone must be able to reach: not a loopback address. This one belongs to
# no machine (RFC 5737).
_PHONE_ADDRESS = "192.0.2.10"


def playground(target: Path) -> None:
    """Write the playground with a connected television, as WebP."""
    with _demo() as issuer, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"), args=["--no-sandbox"]
        )
        context = browser.new_context(
            viewport={"width": _WIDTH, "height": 1000}, device_scale_factor=_PIXELS_PER_UNIT, locale="en-GB"
        )
        page = context.new_page()
        page.goto(f"{issuer}playground")
        _connect(page)
        stage = page.locator(".stage").bounding_box()
        if stage is None:
            raise RuntimeError("The playground shows no television.")
        clip = {"x": 0, "y": 0, "width": _WIDTH, "height": stage["y"] + stage["height"] + 24}
        picture = page.screenshot(clip=clip, full_page=True)  # type: ignore[arg-type]  # a TypedDict of these members
        target.write_bytes(_as_webp(context.new_page(), picture))
        browser.close()


def login(target: Path) -> None:
    """Write a terminal with the QR code of `device login`, as SVG."""
    with _demo(PHONE=_PHONE_ADDRESS) as issuer, tempfile.TemporaryDirectory() as directory:
        tmux = ["tmux", "-f", "/dev/null", "-S", f"{directory}/socket"]
        environment = {
            **os.environ,
            "PATH": f"{_BIN}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "DEVICE_ISSUER": issuer,
            "DEVICE_TOKEN_FILE": f"{directory}/tokens.json",
        }
        size = ["-x", str(_COLUMNS), "-y", str(_ROWS)]
        subprocess.run([*tmux, "new-session", "-d", *size, "sh"], env=environment, check=True)
        try:

            def screen() -> str:
                command = [*tmux, "capture-pane", "-e", "-p"]
                return subprocess.run(command, check=True, capture_output=True, text=True).stdout

            def enter(line: str) -> None:
                subprocess.run([*tmux, "send-keys", line, "Enter"], check=True)

            # Some shells ignore the PS1 of the environment.
            enter("PS1='$ '; clear")
            _wait(lambda: screen().strip() == "$", "The terminal shows no prompt.")
            enter("device login")
            _wait(lambda: "not approved yet" in screen(), "device login shows no code.")
            svg = terminal_as_svg(
                screen(),
                columns=_COLUMNS,
                title="device login in a terminal",
                description="A QR code, and beside it the address and the code to enter there, in large letters.",
            )
        finally:
            subprocess.run([*tmux, "kill-server"], check=True)
    target.write_text(svg, encoding="utf-8")


# Each picture that the running programs make.
MAKERS: dict[str, Callable[[Path], None]] = {"playground.webp": playground, "login.svg": login}


def main() -> None:
    """Make every picture, and print its size."""
    for name, make in MAKERS.items():
        make(FOLDER / name)
        print(f"{name}: {(FOLDER / name).stat().st_size // 1000} kB")


@contextmanager
def _demo(**variables: str) -> Iterator[str]:
    """Run `demo.py` with a new database; yield the issuer's URL."""
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "API_DATABASE_URL": f"sqlite:///{directory}/devices.db", **variables}
        with subprocess.Popen(
            [sys.executable, "demo.py"], cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True
        ) as demo:
            try:
                # Not to the end of the output, which comes when the demo stops.
                address = next((line.strip() for line in demo.stdout or () if "/playground" in line), None)
                if address is None:
                    raise RuntimeError("demo.py did not start; see its message above.")
                yield address.removesuffix("playground")
            finally:
                demo.terminate()


def _connect(page: Page) -> None:
    """Go through the device flow on the playground, until its chart is drawn."""
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Open the link").click()
    phone = page.frame_locator("#phone")
    phone.get_by_role("button", name="Yes, it shows this code").click()
    phone.get_by_role("button", name="Alice Example").click()
    phone.get_by_role("button", name="Allow", exact=True).click()
    page.get_by_role("img", name="temperature").first.wait_for()
    # The buttons hide nothing: the page is photographed from its top, without the focus on a button below.
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")


def _as_webp(page: Page, png: bytes) -> bytes:
    """Return a PNG as WebP, which Chromium can write."""
    url = page.evaluate(
        """async (png) => {
            const image = new Image();
            image.src = `data:image/png;base64,${png}`;
            await image.decode();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL("image/webp", 0.8);
        }""",
        base64.b64encode(png).decode(),
    )
    return base64.b64decode(url.partition(",")[2])


def _wait(is_ready: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not is_ready():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
