# Shared by the scripts beside it; sourced, not run.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="${SPANWISE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/spanwise}"

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# as_root COMMAND…: runs it as root where we are or can be without a password, else fails.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif sudo -n true 2>/dev/null; then sudo -n "$@"
  else return 1
  fi
}

# apt_install PACKAGE…: Debian packages, without questions; fails where we cannot.
apt_install() {
  command -v apt-get >/dev/null || return 1
  as_root env DEBIAN_FRONTEND=noninteractive sh -c \
    'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"' sh "$@" >&2
}

# find_python: prints a Python of 3.10 or newer, $PYTHON first.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$candidate"; return
    fi
  done
  die "no Python 3.10 or newer found; install one (Debian: apt-get install python3 python3-venv) or set PYTHON"
}

# The version of each package that the tests run on, by Python version; written by scripts/lock.
LOCK="$ROOT/requirements/test.txt"

# make_venv FOLDER [-c CONSTRAINTS] REQUIREMENT…: a virtual environment with these, in the versions
# that the constraints name; made once, and remade when any of it or pyproject.toml changes. uv, from
# PyPI, installs in seconds what takes pip a minute; pip is the fallback where uv has no wheel or
# cannot reach the index.
make_venv() {
  local folder="$1" python stamp
  local -a constraints=()
  shift
  [ "$1" != -c ] || constraints=(-c "$2")
  python="$(find_python)"
  stamp="$("$python" --version) $* $(cat "$ROOT/pyproject.toml" ${constraints[1]+"${constraints[1]}"} | cksum)"
  [ "$(cat "$folder/.stamp" 2>/dev/null)" = "$stamp" ] && return
  say "making the Python environment ${folder#"$ROOT"/} (some 15 s)"
  rm -rf "$folder"
  if ! "$python" -m venv "$folder" >/dev/null 2>&1; then
    say "this Python has no venv: installing python3-venv"
    rm -rf "$folder"
    apt_install python3-venv || die "this Python cannot make environments; as root: apt-get install python3-venv"
    "$python" -m venv "$folder"
  fi
  if ! { "$folder/bin/pip" install --quiet --disable-pip-version-check ${constraints[@]+"${constraints[@]}"} uv 2>/dev/null &&
         UV_BUILD_CONSTRAINT="${constraints[1]:-}" uv_pip "$folder" install --quiet "$@"; }; then
    say "uv could not install; using pip (a minute or two)"
    "$folder/bin/pip" install --disable-pip-version-check --progress-bar on "$@" >&2
  fi
  printf '%s' "$stamp" > "$folder/.stamp"
}

# uv_pip FOLDER ARGUMENT…: uv pip in that environment. uv brings the usual certificates along; where they do not do,
# as behind a company's proxy, the system's may.
uv_pip() {
  local folder="$1"
  shift
  VIRTUAL_ENV="$folder" "$folder/bin/uv" pip "$@" 2>/dev/null ||
    VIRTUAL_ENV="$folder" UV_SYSTEM_CERTS=1 "$folder/bin/uv" pip "$@"
}

# make_test_venv: .venv, with all that tests and scripts need, as it is locked.
make_test_venv() { make_venv "$ROOT/.venv" -c "$LOCK" -e "$ROOT[dev]"; }

# find_uv: prints an environment that has uv: .venv, else one in the user's cache, made with the newest from PyPI.
find_uv() {
  local folder="$ROOT/.venv"
  if [ ! -x "$folder/bin/uv" ]; then
    folder="$CACHE/uv"
    [ -x "$folder/bin/uv" ] || make_venv "$folder" uv
  fi
  echo "$folder"
}
