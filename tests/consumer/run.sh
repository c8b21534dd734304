#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs a build directory into a temporary prefix and builds a ten-line program against it, as users do:
# through pkg-config (shared and static) and through CMake's find_package.  Usage: run.sh BUILD_DIR
# A tool that is missing skips its part loudly; 77 if nothing could be tried.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 BUILD_DIR" >&2
    exit 2
fi
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
meson=${MESON:-meson}
tried=0

say() { echo "== $*"; }

# --no-rebuild: under meson test a build is running already.
say "installing into $work/usr"
DESTDIR="$work" $meson install -C "$build" --no-rebuild --quiet
pc=$(find "$work" -name lanemax.pc | head -n 1)
if [ -z "$pc" ]; then
    echo "no lanemax.pc was installed" >&2
    exit 1
fi
prefix=${pc%/lib*}
libdir=$(dirname "$(dirname "$pc")")

# The right answer to six digits, whatever the tier.
expect='0.090031 0.244728 0.665241'
check() {
    out=$(LD_LIBRARY_PATH="$libdir" "$1")
    echo "$out"
    case $out in
    *"$expect") ;;
    *) echo "expected $expect" >&2; exit 1 ;;
    esac
}

if command -v pkg-config >/dev/null; then
    tried=1
    export PKG_CONFIG_PATH="$(dirname "$pc")"
    # The prefix in the file is where the package will be; here it stands under DESTDIR.
    flags="--define-variable=prefix=$prefix"
    say "pkg-config"
    # shellcheck disable=SC2046
    ${CC:-cc} "$here/consumer.c" -o "$work/a" $(pkg-config $flags --cflags --libs lanemax)
    check "$work/a"
    if [ -f "$libdir/liblanemax.a" ]; then
        say "pkg-config --static"
        # shellcheck disable=SC2046
        ${CC:-cc} "$here/consumer.c" -o "$work/b" $(pkg-config $flags --cflags lanemax) \
            "$libdir/liblanemax.a" -lm -pthread
        check "$work/b"
    fi
    version=$(pkg-config --modversion lanemax)
    case $(LD_LIBRARY_PATH="$libdir" "$work/a") in
    "lanemax $version on "*) ;;
    *) echo "pkg-config says $version, the library another version" >&2; exit 1 ;;
    esac
else
    say "SKIP: pkg-config is missing"
fi

if command -v cmake >/dev/null; then
    tried=1
    say "CMake"
    cmake -S "$here" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" >"$work/cmake.log" 2>&1 ||
        { cat "$work/cmake.log"; exit 1; }
    cmake --build "$work/cmake" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
    check "$work/cmake/consumer"
    # Another major version must be refused.
    sed 's/find_package(lanemax 0.1/find_package(lanemax 99.0/' "$here/CMakeLists.txt" >"$work/CMakeLists.txt"
    cp "$here/consumer.c" "$work/"
    if cmake -S "$work" -B "$work/cmake2" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null 2>&1; then
        echo "find_package(lanemax 99.0) was accepted" >&2
        exit 1
    fi
else
    say "SKIP: cmake is missing"
fi

[ $tried -eq 1 ] || exit 77
say "ok"
