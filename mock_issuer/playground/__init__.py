"""The flow on one page, for people who learn it: the page, its scripts and its style."""
