#!/bin/sh
# Builds .venv from the lock, or does nothing (in milliseconds) when it is built already. Run by make.
#
# The first run downloads; a later one, with another lock, fetches what changed. Everything that is
# downloaded stays below .cache and is hard-linked into .venv, so both together take the space of one.
# PYTHON=... chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)

say() { printf '%s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

# A virtual environment holds absolute paths, so a checkout that moved needs a new one: the path is in the stamp.
stamp=.venv/.installed-$({ cat requirements.lock requirements/bootstrap.lock pyproject.toml; say "$root"; } | cksum | cut -d' ' -f1)
if [ -e "$stamp" ] && [ -x .venv/bin/python ]; then exit 0; fi

supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

choose_python() {
    unfit=
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3; do
        "$candidate" -c "$supported" 2>/dev/null || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            python=$candidate
            return
        fi
        unfit=$candidate
    done
    if [ -n "$unfit" ]; then
        fail "$unfit cannot make virtual environments: its ensurepip module is missing." \
            "On Debian and Ubuntu: apt-get install python3-venv (or $unfit-venv)."
    fi
    fail "FaceID API needs Python 3.11, 3.12 or 3.13, and none was found. If it is installed under another name: make PYTHON=/path/to/python3"
}

if [ "$(uname -s)-$(uname -m)" = Darwin-x86_64 ]; then
    fail "PyTorch is no longer made for Macs with an Intel processor. Use Linux, or a Mac with Apple silicon."
fi
if [ "$(uname -s)" = Linux ]; then download='3 GB' needed_gb=8; else download='500 MB' needed_gb=3; fi
if [ ! -d .cache/uv ]; then
    free_gb=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1048576))
    if [ "$free_gb" -lt "$needed_gb" ]; then
        fail "This needs $needed_gb GB of free disk space here, and there are $free_gb GB."
    fi
fi

if ! .venv/bin/python -c "$supported" 2>/dev/null || [ "$(cat .venv/.root 2>/dev/null || say "$root")" != "$root" ]; then
    choose_python
    say "==> Making .venv with $("$python" --version) ($python)"
    "$python" -m venv --clear .venv
fi
say "$root" >.venv/.root
rm -f .venv/.installed-*

export UV_CACHE_DIR="$root/.cache/uv" UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=300
export PIP_CACHE_DIR="$root/.cache/pip" PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1
python=.venv/bin/python
"$python" -c 'import pip' 2>/dev/null || "$python" -m ensurepip >/dev/null

say "==> Installing the installer, uv (20 MB, by its hash)"
"$python" -m pip install --quiet --no-input --no-deps --only-binary :all: --require-hashes -r requirements/bootstrap.lock

say "==> Installing the packages of requirements.lock, by their hashes: up to $download to download, most of it PyTorch"
"$python" -m uv pip sync --python "$python" --require-hashes --no-build requirements.lock

say "==> Installing the faceid command"
"$python" -m uv pip install --python "$python" --quiet --no-deps --no-build-isolation --editable .

touch "$stamp"
say "==> The environment is ready: $(du -sh .venv | cut -f1) in .venv, shared with .cache/uv"
