"""The browser of this machine, where it has one that does not take the terminal over."""

import os
import threading
import webbrowser

__all__ = ["has_browser", "open_browser"]


def has_browser() -> bool:
    """Tell whether a page can be opened beside the terminal.

    A text browser found by accident would draw over the countdown and does not count; one that BROWSER names does.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    runs_in_terminal = isinstance(browser, webbrowser.GenericBrowser) and not isinstance(
        browser, webbrowser.BackgroundBrowser
    )
    return not runs_in_terminal or bool(os.environ.get("BROWSER"))


def open_browser(address: str) -> None:
    """Open `address`, which the caller has checked to be a web address, without waiting for the browser to end."""
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
