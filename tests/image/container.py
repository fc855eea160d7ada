"""Build the project's images, and run programs in them as a container engine would, in namespaces of their own."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.kit.processes import ROOT, wait_until_ready

# Without requests in progress it takes a second or two; a busy machine needs more.
STOP_SECONDS = 15

# /dev has only these: gunicorn's workers keep their heartbeat files in /dev/shm, as in a container.
# /tmp and /var/tmp cannot be written or entered. The root file system is read-only; $volume is mounted over its folder.
_START = """
set -eu
root=$1 volume=$2 volume_path=$3 user=$4 directory=$5
shift 5
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o size=64m,mode=0755 tmpfs "$root/dev"
for device in null zero random urandom; do
  touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -m 1777 "$root/dev/shm"
for name in tmp var/tmp; do mount -t tmpfs -o ro,mode=0000 tmpfs "$root/$name"; done
[ -z "$volume" ] || mount --bind "$volume" "$root$volume_path"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid="${user%:*}" --regid="${user#*:}" --clear-groups --bounding-set=-all \
  --inh-caps=-all --no-new-privs sh -c 'cd "$0" && exec "$@"' "$directory" "$@"
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image: its root file system, and its configuration as Docker shows it."""

    root: Path
    configuration: dict[str, Any]

    def command(self, *arguments: str) -> list[str]:
        """Return what a container runs: the entry point with `arguments`, which replace the image's own."""
        return [*(self.configuration["Entrypoint"] or []), *(arguments or self.configuration["Cmd"] or [])]

    def start(
        self, command: list[str], *, user: str, volume: Path | None = None, **variables: str
    ) -> subprocess.Popen[str]:
        """Start a command as process 1 of a new container; `user` is uid:gid, `volume` a folder for the image's volume.

        The network is this machine's. Standard output and error go to a pipe.
        """
        volumes = list(self.configuration.get("Volumes") or {})
        own = dict(pair.split("=", 1) for pair in self.configuration["Env"])
        start = ["unshare", "--mount", "--ipc", "--uts", "--pid", "--fork", "sh", "-c", _START, "sh"]
        place = [str(self.root), str(volume or ""), volumes[0] if volumes else "", user]
        return subprocess.Popen(
            [*start, *place, self.configuration["WorkingDir"], *command],
            env={**own, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: list[str], *, user: str, volume: Path | None = None, **variables: str) -> tuple[int, str]:
        """Run a command in a new container; return its status and its output."""
        with self.start(command, user=user, volume=volume, **variables) as process:
            output, _ = process.communicate(timeout=60)
        return process.returncode, output

    @contextmanager
    def running(
        self, command: list[str], ready_url: str, *, user: str, volume: Path | None = None, **variables: str
    ) -> Iterator[None]:
        """Run a server in a new container, from when `ready_url` answers; SIGTERM must then end it with status 0."""
        with self.start(command, user=user, volume=volume, **variables) as process:
            try:
                wait_until_ready(process, ready_url)
                yield
            except BaseException as exc:
                _send(process, signal.SIGKILL)  # the others of the container end with it
                exc.add_note(process.communicate(timeout=STOP_SECONDS)[0])
                raise
            _send(process, signal.SIGTERM)
            try:
                output, _ = process.communicate(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _send(process, signal.SIGKILL)
                raise
            assert process.returncode == 0, output


def _send(unshare: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to the container's process 1, the only child of `unshare`, unless it has ended."""
    if unshare.poll() is None:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text(encoding="ascii")
        os.kill(int(children.split()[0]), number)


@contextmanager
def built_images(shared: Path) -> Iterator[dict[str, Image]]:
    """Build the images in a folder of `shared`, once for all processes that call this; the last one removes them.

    Raises CalledProcessError if they cannot be built; the end of the build's log is then on standard error.
    """
    folder = shared / "images"
    listed = folder / "list.txt"
    with (shared / "images.building").open("w") as building, (shared / "images.used").open("w") as used:
        fcntl.flock(building, fcntl.LOCK_EX)
        if not listed.exists():
            built = subprocess.run(
                [ROOT / "tests" / "image" / "build", folder], stdout=subprocess.PIPE, text=True, check=True
            )
            listed.write_text(built.stdout, encoding="utf-8")
        fcntl.flock(used, fcntl.LOCK_SH)
        fcntl.flock(building, fcntl.LOCK_UN)
        try:
            yield {name: _image(folder / f"{name}.json", Path(root)) for name, root in _pairs(listed)}
        finally:
            fcntl.flock(building, fcntl.LOCK_EX)
            if _is_last_user(used):
                shutil.rmtree(folder)


def _is_last_user(used: IO[str]) -> bool:
    """Return whether no other process holds the lock on this file."""
    try:
        fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pairs(listed: Path) -> list[list[str]]:
    return [line.split(" ", 1) for line in listed.read_text(encoding="utf-8").splitlines()]


def _image(inspected: Path, root: Path) -> Image:
    return Image(root=root, configuration=json.loads(inspected.read_text(encoding="utf-8"))["Docker"]["config"])
