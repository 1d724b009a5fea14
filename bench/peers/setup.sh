#!/bin/sh
# Creates the virtual environment of the peers in the folder given as argument.
#
#   bench/peers/setup.sh [--robots | --learning | --crocoddyl] FOLDER
#
# With --robots only the packages of the rigid-body rows, with --learning only
# those of the learning rows; by default both. With --crocoddyl those of the
# optimal-control rows, which need an environment of their own: Crocoddyl's wheel
# is bound to another version of Pinocchio.
#
# PYTHON (default python3.11) chooses the interpreter. If pip's own settings
# offer the CPU build of torch (a version ending in +cpu, from an additional
# index or a folder of wheels), that one is taken. Otherwise the default wheel is
# installed, on Linux x86-64 together with the CUDA libraries it links.
set -eu

learning=yes robots=yes crocoddyl=no
case ${1:-} in
    --robots) learning=no; shift ;;
    --learning) robots=no; shift ;;
    --crocoddyl) learning=no robots=no crocoddyl=yes; shift ;;
esac
if [ $# -ne 1 ]; then
    echo "usage: $0 [--robots | --learning | --crocoddyl] FOLDER" >&2
    exit 2
fi
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3.11}

"$python" -m venv "$folder"
pip() { "$folder/bin/python" -m pip --disable-pip-version-check "$@"; }

if [ $crocoddyl = yes ]; then
    pip install --quiet --no-deps -r "$here/requirements-crocoddyl.txt"
    "$folder/bin/python" - <<'PYTHON'
import crocoddyl
import pinocchio

print(f"crocoddyl {crocoddyl.__version__}, pinocchio {pinocchio.__version__}")
PYTHON
fi
if [ $robots = yes ]; then
    pip install --quiet --no-deps -r "$here/requirements-robots.txt"
    "$folder/bin/python" - <<'PYTHON'
import mujoco
import pinocchio

print(f"pinocchio {pinocchio.__version__}, mujoco {mujoco.__version__}")
PYTHON
fi
[ $learning = yes ] || exit 0

torch=$(sed -n 's/^torch==//p' "$here/requirements.txt")
if pip install --quiet --no-deps "torch==$torch+cpu" 2>/dev/null; then
    echo "torch: CPU build $torch+cpu"
else
    pip install --quiet --no-deps "torch==$torch"
    if [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ]; then
        echo "torch: default wheel $torch, with the CUDA libraries it links"
        pip install --quiet --no-deps -r "$here/requirements-cuda-libraries.txt"
    fi
fi
pip install --quiet --no-deps -r "$here/requirements.txt"

"$folder/bin/python" - <<'PYTHON'
import gymnasium
import jax
import sbx
import stable_baselines3
import torch

print(
    f"torch {torch.__version__}, jax {jax.__version__}, "
    f"stable-baselines3 {stable_baselines3.__version__}, sbx {sbx.__version__}, "
    f"gymnasium {gymnasium.__version__}"
)
PYTHON
