# Functions that the scripts share. Source it from the repository's root.

fail() {
    printf 'error: %s\n' "$1" >&2
    if [ -n "${2:-}" ]; then printf 'hint: %s\n' "$2" >&2; fi
    exit 1
}

# need TOOL WHERE-IT-COMES-FROM
need() {
    command -v "$1" >/dev/null || fail "$1 is missing" "install it: $2"
}

# packages TOOL:PACKAGE…: installs the Debian packages of the tools that are missing, or prints the command that does.
packages() {
    local pair missing=() root=()
    for pair; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u 2>/dev/null)" = 0 ] || root=(sudo)
    if ! command -v apt-get >/dev/null || { [ ${#root[@]} -gt 0 ] && ! sudo -n true 2>/dev/null; }; then
        fail "these programs or packages are missing: ${missing[*]}" "install them: sudo apt-get install ${missing[*]}"
    fi
    ${root[@]+"${root[@]}"} apt-get update -qq
    ${root[@]+"${root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
}

# The build goes here, whatever the user's own settings say, because the scripts look for it here.
export CARGO_TARGET_DIR=$PWD/target

# Succeeds if this machine can mount disk images: as root, and not in a container without devices.
can_mount_images() {
    [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null && losetup --find >/dev/null 2>&1
}

# Succeeds if a Docker daemon of the tests' own starts here and runs a container: one of the tests finds out.
can_run_containers() {
    cargo test --locked --quiet --test root -- --ignored --exact containers::a_daemon_runs_a_container >&2
}

# Prints how many tests of these binaries are ignored, for a run that cannot include them.
count_ignored() {
    cargo test --locked --quiet "$@" -- --ignored --list 2>/dev/null | grep -c ': test$' || true
}

# Sets PYTHON to a Python that Flyte 2 supports: the one it names, or one in PATH.
find_python() {
    local candidate found=
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 python3.13 python3.12 python3.11 python3.10; fi
    for candidate; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            found=$candidate
            break
        fi
    done
    [ -n "$found" ] || fail "Python 3.10 or newer is missing (tried $*)" "install python3, or name one: PYTHON=/path/to/python3"
    PYTHON=$found
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$PYTHON cannot make virtual environments" "install the package python3-venv"
}

# environment NAME: target/venvs/NAME holds what tests/python/NAME.txt lists, and what NAME.no-deps.txt lists if there is one.
environment() {
    local directory=target/venvs/$1 wanted=tests/python/$1.txt alone=tests/python/$1.no-deps.txt
    [ -e "$alone" ] || alone=/dev/null
    if cat "$wanted" "$alone" | cmp -s - "$directory/installed.txt" && "$directory/bin/python" -c '' 2>/dev/null; then return; fi
    printf 'making %s\n' "$directory" >&2
    rm -rf "$directory"
    "$PYTHON" -m venv "$directory"
    set -- "$directory/bin/python" -m pip install --quiet --disable-pip-version-check
    { "$@" -r "$wanted" && { [ "$alone" = /dev/null ] || "$@" --no-deps -r "$alone"; }; } ||
        fail "cannot install $(grep -v ^# "$wanted" | head -n 1) from PyPI" "check the network and pip's configuration"
    cat "$wanted" "$alone" >"$directory/installed.txt"
}
