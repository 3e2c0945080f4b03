"""Build what a release consists of, from a commit: sdist, wheel, a list of components (SBOM), and their checksums.

`python release/build_release.py --url https://HOST/OWNER/NAME [--commit vVERSION] [--target dist]`, in an environment
that has release/requirements.lock. Only what is committed is built.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: A link in README.md to another file of the repository.
LINK = re.compile(r"\]\((?!https?:|#)(?P<path>[^)#]+)(?P<anchor>#[^)]*)?\)")
LOCKS = ("requirements.lock", "requirements-gevent.lock", "requirements-redis.lock", "requirements-postgres.lock")


def main() -> None:
    """Build a release. Exits with a message if a step fails."""
    parser = argparse.ArgumentParser(description="Build sdist, wheel, SBOM and checksums of a commit.")
    parser.add_argument("--url", required=True, help="address of the repository, for the metadata")
    parser.add_argument("--commit", default="HEAD")
    parser.add_argument("--target", type=Path, default=Path("dist"))
    given = parser.parse_args()
    given.target.mkdir(parents=True, exist_ok=True)
    if any(given.target.iterdir()):
        sys.exit(f"{given.target} is not empty")
    try:
        build(given.url.rstrip("/"), given.commit, given.target.resolve())
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {' '.join(map(str, error.cmd))}")
    for line in write_checksums(given.target):
        print(line)


def build(url: str, commit: str, target: Path) -> None:
    """Put sdist, wheel and SBOM of a commit into a folder. Raises CalledProcessError if a step fails."""
    environ = {**os.environ, "SOURCE_DATE_EPOCH": read_git("log", "-1", "--format=%ct", commit).decode().strip()}
    with tempfile.TemporaryDirectory() as folder:
        source = export(commit, Path(folder, "source"))
        version = read_version(source)
        add_urls(source, url)
        make_links_absolute(source / "README.md", f"{url}/blob/v{version}")
        run("build", "--no-isolation", "--outdir", str(target), str(source), environ=environ)
        run("twine", "check", "--strict", *map(str, sorted(target.iterdir())), environ=environ)
        (wheel,) = target.glob("*.whl")
        environment = install(source, wheel, Path(folder, "environment"))
        sbom = target / f"argoproxy-{version}.cdx.json"
        write_sbom(source, environment, sbom, environ)
        add_version(sbom, version)


def export(commit: str, folder: Path) -> Path:
    """Write the files of a commit to a folder and return it."""
    with tarfile.open(fileobj=io.BytesIO(read_git("archive", "--format=tar", commit))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def read_version(source: Path) -> str:
    """Return the version that a source tree says it has."""
    text = (source / "argoproxy" / "__init__.py").read_text("utf-8")
    (version,) = re.findall(r'(?m)^__version__ = "(.+)"$', text)
    return str(version)


def add_urls(source: Path, url: str) -> None:
    """Name the addresses of the project in pyproject.toml. They depend on where the repository is kept."""
    file = source / "pyproject.toml"
    urls = {
        "Homepage": url,
        "Documentation": f"{url}/blob/main/docs",
        "Changelog": f"{url}/blob/main/CHANGELOG.md",
        "Issues": f"{url}/issues",
    }
    table = "[project.urls]\n" + "".join(f'{name} = "{value}"\n' for name, value in urls.items())
    file.write_text(file.read_text("utf-8").replace("[project.scripts]", f"{table}\n[project.scripts]"), "utf-8")


def make_links_absolute(readme: Path, base: str) -> None:
    """Have README's links lead to the repository: a package index shows the page without the other files."""
    text = LINK.sub(lambda link: f"]({base}/{link['path']}{link['anchor'] or ''})", readme.read_text("utf-8"))
    readme.write_text(text, "utf-8")


def install(source: Path, wheel: Path, folder: Path) -> Path:
    """Install the wheel with the locked packages, as the image has them. Returns the interpreter."""
    venv.create(folder)
    pip = ("pip", "--disable-pip-version-check", "--python", str(folder), "install", "--quiet")
    locks = [word for lock in LOCKS for word in ("--requirement", str(source / lock))]
    run(*pip, "--require-hashes", "--only-binary", ":all:", *locks)
    run(*pip, "--no-deps", str(wheel))
    return folder / "bin" / "python"


def write_sbom(source: Path, python: Path, target: Path, environ: dict[str, str]) -> None:
    """List the packages of an environment with versions, licences and dependencies, as CycloneDX."""
    options = ("--pyproject", str(source / "pyproject.toml"), "--output-reproducible", "--output-file", str(target))
    run("cyclonedx_py", "environment", *options, str(python), environ=environ)


def add_version(sbom: Path, version: str) -> None:
    """Write the version of the described program into an SBOM: its tool does not find one that is dynamic."""
    document = json.loads(sbom.read_text("utf-8"))
    document["metadata"]["component"]["version"] = version
    sbom.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def write_checksums(target: Path) -> list[str]:
    """Write SHA256SUMS, and return its lines."""
    files = sorted(file for file in target.iterdir() if file.is_file())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]
    (target / "SHA256SUMS").write_text("".join(f"{line}\n" for line in lines))
    return lines


def read_git(*arguments: str) -> bytes:
    """Return what a git command prints. Raises CalledProcessError if it fails."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


def run(module: str, *arguments: str, environ: dict[str, str] | None = None) -> None:
    """Run a tool of this environment. Raises CalledProcessError if it fails."""
    subprocess.run([sys.executable, "-P", "-m", module, *arguments], env=environ, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
