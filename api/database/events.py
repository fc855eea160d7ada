"""`DatabaseEvents`: what metrics and logs are told about the connections to the database."""


class DatabaseEvents:
    """What happens to the connections of this process; each method does nothing unless it is overridden.

    The methods are called in the threads of requests and must not raise.
    """

    def limited(self, connections: int) -> None:
        """Tell how many connections are used at once at most; called once, when the engine is created."""

    def in_use(self, connections: int) -> None:
        """Tell how many connections are in use after a use began or ended."""

    def waited(self, seconds: float) -> None:
        """Tell how long a use had to wait for a connection, whether it then got one or was refused."""

    def refused(self) -> None:
        """Tell that a use was refused because all connections had been in use for too long."""

    def lost(self) -> None:
        """Tell that the database cannot be reached, or does not answer, for the first time since it did."""

    def found(self) -> None:
        """Tell that the database answers again."""
