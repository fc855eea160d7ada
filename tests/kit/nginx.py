"""nginx with deploy/nginx.conf, on ports of this machine, as a user who is not root."""

import os
import re
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
def running_nginx(
    *upstream_ports: int,
    tls: Mapping[str, str] = MappingProxyType({}),
    timeouts: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Nginx]:
    """Run nginx in front of ports of this machine.

    `tls` are nginx's directives for TLS, with their values. `timeouts` are directives of the configuration with other
    values.
    """
    # Not tmp_path: its parent folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="device-api-nginx-"))
    nginx = Nginx(free_port(), free_port(), folder / "access.log")
    configuration = CONFIGURATION.read_text(encoding="utf-8")
    for name, value in timeouts.items():
        configuration, count = re.subn(rf"^( *{name} +)\w+;", rf"\g<1>{value};", configuration, flags=re.MULTILINE)
        assert count == 1, name
    (folder / "nginx.conf").write_text(configuration, encoding="utf-8")
    addresses = folder / "addresses"
    addresses.mkdir()
    listen = f"listen 127.0.0.1:{nginx.port}{' ssl' if tls else ''};\n"
    (addresses / "listen.conf").write_text(listen + "".join(f"{name} {value};\n" for name, value in tls.items()))
    (addresses / "inner.conf").write_text(f"listen 127.0.0.1:{nginx.inner_port};\n")
    (addresses / "upstream.conf").write_text("".join(f"server 127.0.0.1:{port};\n" for port in upstream_ports))
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
