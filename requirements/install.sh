#!/usr/bin/env bash
# Create the virtual environment $1 with the interpreter $2 and install Osteomark in it, editable, with its tools.
# An NVIDIA GPU gets the plain install; any other machine a pair of pinned versions and, for torchvision, a cure.
set -euo pipefail

venv=$1 python=$2 here=$(dirname "$0")

if [ -z "$python" ]; then
  echo "No Python 3.11 or 3.12 found: install one, or name it with 'make install PYTHON=/path/to/python3.12'." >&2
  exit 2
fi
if [ ! -x "$venv/bin/pip" ]; then
  echo "Creating $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check -qq install)
if nvidia-smi -L >/dev/null 2>&1; then
  echo "NVIDIA GPU found: installing torch for CUDA (several GB, some minutes)"
  "${pip[@]}" --editable '.[dev,docs]'
else
  echo "No NVIDIA GPU found: installing torch for the CPU (some minutes)"
  "${pip[@]}" --constraint "$here/cpu.txt" --editable '.[dev,docs]'
  cp "$here"/osteomark_torchvision.{py,pth} "$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
fi

echo "Checking the installation"
"$venv/bin/python" - <<'PYTHON'
import lightning
import timm
import torch
import torchvision

from benchmark.catalogue import list_plugins

for what in ("methods", "datasets", "metrics"):
    list_plugins(what)  # kept beside a hash of the sources, so that the first `osteomark list` is quick
device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, lightning {lightning.__version__}, "
      f"timm {timm.__version__} on {device}")
PYTHON
