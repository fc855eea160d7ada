import pytest

from api.database.events import DatabaseEvents


class Recorded(DatabaseEvents):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def limited(self, connections: int) -> None:
        self.seen.append(f"limited {connections}")

    def in_use(self, connections: int) -> None:
        self.seen.append(f"in use {connections}")

    def waited(self, seconds: float) -> None:
        self.seen.append("waited")

    def refused(self) -> None:
        self.seen.append("refused")

    def lost(self) -> None:
        self.seen.append("lost")

    def found(self) -> None:
        self.seen.append("found")


@pytest.fixture
def events() -> Recorded:
    return Recorded()
