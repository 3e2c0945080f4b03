#!/usr/bin/env bash
# Builds the documentation as a site, in which every warning is an error: ./build_site.sh [folder], .site by default.
#
#   python3 -m venv .venv-site && .venv-site/bin/pip install --require-hashes -r requirements-site.lock
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

folder=${1:-.site}
PATH=$PWD/.venv-site/bin:$PATH
command -v zensical >/dev/null || { echo "build_site.sh: zensical is not installed; see the first lines of this script" >&2; exit 1; }

# The builder wants its pages in one folder; there they lie as they do here, so that all links hold.
rm -rf "$folder/pages" "$folder/html"
mkdir -p "$folder/pages"
cp -R docs examples deploy ./*.md LICENSE config.sample.yaml .env.example "$folder/pages"
cp zensical.toml "$folder"
cd "$folder"
zensical build --strict --clean
