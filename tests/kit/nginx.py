"""nginx with deploy/nginx.conf, on ports of this machine, as a user who is not root."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tests.kit.processes import ROOT, free_port, wait_until_listening

CONFIGURATION = ROOT / "deploy" / "nginx.conf"


class Nginx(NamedTuple):
    """Ports for clients and for the platform, and the access log."""

    port: int
    inner_port: int
    access_log: Path


@contextmanager
def running_nginx(upstream_port: int, *, tls: Mapping[str, str] = MappingProxyType({})) -> Iterator[Nginx]:
    """Run nginx in front of a port of this machine; `tls` are nginx's directives for TLS, with their values."""
    # Not tmp_path: its parent folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="device-api-nginx-"))
    nginx = Nginx(free_port(), free_port(), folder / "access.log")
    (folder / "nginx.conf").symlink_to(CONFIGURATION)
    addresses = folder / "addresses"
    addresses.mkdir()
    listen = f"listen 127.0.0.1:{nginx.port}{' ssl' if tls else ''};\n"
    (addresses / "listen.conf").write_text(listen + "".join(f"{name} {value};\n" for name, value in tls.items()))
    (addresses / "inner.conf").write_text(f"listen 127.0.0.1:{nginx.inner_port};\n")
    (addresses / "upstream.conf").write_text(f"server 127.0.0.1:{upstream_port};\n")
    is_root = os.geteuid() == 0
    if is_root:
        shutil.chown(folder, "nobody", "nogroup")
    folder.chmod(0o755)
    errors = folder / "error.log"
    command = ["nginx", "-e", "stderr", "-p", f"{folder}/", "-c", f"{folder}/nginx.conf", "-g", "daemon off;"]
    with errors.open("w+") as stderr, nginx.access_log.open("w") as stdout:
        # nginx opens /dev/stdout by its path.
        nginx.access_log.chmod(0o666)
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            user="nobody" if is_root else None,
            group="nogroup" if is_root else None,
        ) as process:
            try:
                wait_until_listening(process, nginx.port)
                yield nginx
            finally:
                process.terminate()
                process.wait(timeout=10)
        stderr.seek(0)
        assert process.returncode == 0, stderr.read()
    shutil.rmtree(folder)
