"""A container's root folder in a mount namespace: read-only, with devices and volumes of its own, for one process. Wants root.

Its files are those of an image that was built, or this machine's, in the places that the image has them in.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.pods import WORKDIR
from tests.deploy.rendered import DEPLOY

_CHECKOUT = str(DEPLOY.parent)
_HERE = {
    **{path: path for path in ("/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc")},
    sys.base_prefix: sys.base_prefix,
    _CHECKOUT: _CHECKOUT,
    "/opt/firstword": sys.prefix,
    f"{WORKDIR}/worker.py": f"{_CHECKOUT}/agent/worker.py",
}
"""What a worker needs of this machine, by its place in the container."""
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass(frozen=True)
class ContainerRoot:
    """What one process sees in place of this machine's files."""

    folder: Path
    """Of the image's root; an empty one where this machine's files stand in."""
    user: str
    """Numbers, as in `10001:0`."""
    volumes: Mapping[str, Path]
    """By path: a folder that is shown read-only, or an empty one, for which there is memory."""
    built: bool = False
    """Whether `folder` has the files of an image."""
    shared_memory: bool = True
    """Whether there is a /dev/shm."""
    full: frozenset[str] = field(default_factory=frozenset[str])
    """Volumes without a free byte."""
    only_ipv6: bool = False
    """Whether its network has ::1 and nothing else."""

    def within(self) -> tuple[str, ...]:
        """The command that runs what follows it there, under the same process id and user."""
        network = ("--net",) if self.only_ipv6 else ()
        return ("/usr/bin/unshare", "--mount", *network, "/bin/sh", "-c", " && ".join(self._steps()), "container")

    def _steps(self) -> Iterator[str]:
        root = self.folder
        if self.only_ipv6:
            yield "ip link set lo up && ip -4 address flush dev lo"
        yield f"mount --bind {root} {root}" if self.built else f"mount -t tmpfs -o mode=755 tmpfs {root}"
        yield f"mkdir -p {root}/proc {root}/dev && mount -t proc proc {root}/proc"
        yield f"mount -t tmpfs -o mode=755 tmpfs {root}/dev"
        for name in _DEVICES:
            yield f"touch {root}/dev/{name} && mount --bind /dev/{name} {root}/dev/{name}"
        if self.shared_memory:
            yield f"mkdir {root}/dev/shm && mount -t tmpfs -o mode=1777,size=64m tmpfs {root}/dev/shm"
        for path, volume in self.volumes.items():
            yield from self._mounted(path, volume)
        if not self.built:
            for path, here in _HERE.items():
                yield from _shown(f"{root}{path}", Path(here))
        yield f"mount -o remount,{'bind,' if self.built else ''}ro {root}"
        yield f'exec /usr/sbin/chroot --userspec={self.user} {root} env -C {WORKDIR} "$@"'

    def _mounted(self, path: str, volume: Path) -> Iterator[str]:
        place = f"{self.folder}{path}"
        if any(volume.iterdir()):
            yield f"chmod -R a+rX {volume}"
            yield from _shown(place, volume)
            return
        size = "64k" if path in self.full else "1g"
        yield f"mkdir -p {place} && mount -t tmpfs -o mode=1777,size={size} tmpfs {place}"
        if path in self.full:
            yield f"{{ cat /dev/zero > {place}/other 2> /dev/null; true; }}"


def _shown(place: str, here: Path) -> Iterator[str]:
    """A folder or file of this machine at a place of the root, read-only; a link as a link."""
    if not here.exists():
        return
    yield f"mkdir -p $(dirname {place})"
    if here.is_symlink():
        yield f"cp -P {here} {place}"
    else:
        yield f"{'mkdir -p' if here.is_dir() else 'touch'} {place}"
        yield f"mount --bind {here} {place} && mount -o remount,bind,ro {place}"
