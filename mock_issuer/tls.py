"""A certificate for `--tls`, made at start by a CA of its own (trustme)."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mock_issuer.config import ConfigError

# Some clients refuse server certificates that are valid for more than 398 days.
_VALIDITY = timedelta(days=30)
# Clients' clocks may be behind.
_BACKDATING = timedelta(hours=1)


def server_context(hosts: set[str], directory: Path) -> ssl.SSLContext:
    """Return a context to serve these hosts with; write the certificate of its CA to `ca.pem` in the directory.

    The private key is in `server.pem`, which its owner alone can read. The CA's key is written nowhere.

    Args:
        hosts: DNS names and IP addresses.
        directory: an existing directory.

    Raises ConfigError if trustme is not installed, and for a host that no certificate can name.
    """
    try:
        import trustme  # noqa: PLC0415  # needed for --tls alone
    except ModuleNotFoundError as exc:
        raise ConfigError(["https needs the package trustme: pip install trustme."]) from exc
    ca = trustme.CA(path_length=0, organization_name="Mock issuer (tests only)")
    now = datetime.now(UTC)
    try:
        certificate = ca.issue_cert(*sorted(hosts), not_before=now - _BACKDATING, not_after=now + _VALIDITY)
    except ValueError as exc:  # IDNA refuses the name
        raise ConfigError([f"A certificate cannot name all of {', '.join(sorted(hosts))}: {exc}."]) from exc
    ca.cert_pem.write_to_path(directory / "ca.pem")
    server = directory / "server.pem"
    server.touch(mode=0o600)
    certificate.private_key_and_cert_chain_pem.write_to_path(server)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    return context
