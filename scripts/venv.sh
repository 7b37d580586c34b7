# Sourced by the other scripts: make .venv and install the project in it, once for each pyproject.toml.
# PYTHON names another interpreter (3.11 or newer).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
stamp="$venv/installed"
wanted=$(cksum < pyproject.toml)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "$python is older than Python 3.11, or missing; set PYTHON to a newer one" >&2
        exit 1
    fi
    echo "Setting up $venv (a few minutes the first time)" >&2
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -e '.[clip,text,plots,training,lightning,transformers,keras,dev]' >&2
    # Compile the UMAP kernel now, so that the first export is as fast as the later ones.
    "$venv/bin/python" -c 'from projector_export.analysis.layout import load_umap; load_umap()'
    echo "$wanted" > "$stamp"
fi
PATH="$PWD/$venv/bin:$PATH"
