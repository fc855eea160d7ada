"""The error for invalid settings."""


class SettingsError(ValueError):
    """Invalid settings; `mistakes` has a sentence for each, which begins with the variable's name."""

    def __init__(self, mistakes: list[str]) -> None:
        count = "One setting is" if len(mistakes) == 1 else f"{len(mistakes)} settings are"
        super().__init__("\n  ".join([f"{count} invalid (see docs/settings.md):", *mistakes]))
        self.mistakes = tuple(mistakes)
