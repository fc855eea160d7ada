"""The web browser of this machine, if it has one that opens beside the terminal."""

import os
import threading
import webbrowser

__all__ = ["has_browser", "open_browser"]


def has_browser() -> bool:
    """Return whether a page can be opened without replacing what the terminal shows.

    A text browser would overwrite the login screen, so it counts only if the variable BROWSER names it.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    runs_in_terminal = isinstance(browser, webbrowser.GenericBrowser) and not isinstance(
        browser, webbrowser.BackgroundBrowser
    )
    return not runs_in_terminal or bool(os.environ.get("BROWSER"))


def open_browser(url: str) -> None:
    """Open `url`, without waiting for the browser. Does not check it: the caller has made sure that it is http(s)."""
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
