#!/bin/bash
# Checks the webcam source against a real kernel's V4L2: boots Debian's stock kernel in QEMU (no KVM needed), with
# the drivers vivid and v4l2loopback, and runs guest_checks.py in it. See README.md.
#
#   PYTHON=.venv/bin/python BUILD=build/vm tests/vm/run.sh
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
REPO=$(cd "$HERE/../.." && pwd)
PYTHON=$(cd "$(dirname "${PYTHON:-$REPO/.venv/bin/python}")" && pwd)/python
BUILD=$(mkdir -p "${BUILD:-$REPO/build/vm}" && cd "${BUILD:-$REPO/build/vm}" && pwd)
KERNEL=${KERNEL:-$(apt-cache depends linux-image-amd64 | awk '/Depends:/ {print $2; exit}')}
VERSION=${KERNEL#linux-image-}
MODULES=$BUILD/kernel/lib/modules/$VERSION

fetch() {
    local missing=()
    for package in qemu-system-x86 busybox-static cpio kmod v4l-utils gcc make "linux-headers-$VERSION"; do
        dpkg -s "$package" > /dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] || apt-get install -y --no-install-recommends "${missing[@]}"
    cd "$BUILD"
    [ -d kernel ] || { apt-get download "$KERNEL" && dpkg -x "$KERNEL"_*.deb kernel; }
    [ -d loopback ] || { apt-get download v4l2loopback-dkms && dpkg -x v4l2loopback-dkms_*.deb loopback; }
    [ -f "$MODULES/extra/v4l2loopback.ko" ] || build_loopback
}

build_loopback() {
    local source
    source=$(echo "$BUILD"/loopback/usr/src/v4l2loopback-*)
    make -C "/usr/src/linux-headers-$VERSION" M="$source" modules
    install -D "$source/v4l2loopback.ko" "$MODULES/extra/v4l2loopback.ko"
    depmod -b "$BUILD/kernel" "$VERSION"
}

# The modules that the guest needs, each after those that it depends on.
in_order() {
    for module in virtio_pci 9pnet_virtio 9p overlay vivid v4l2loopback; do
        modprobe -S "$VERSION" -d "$BUILD/kernel" --show-depends "$module" | awk '/^insmod/ {print $2}'
    done | awk '!seen[$0]++'
}

make_initrd() {
    local root=$BUILD/initrd
    rm -rf "$root" && mkdir -p "$root"/{bin,modules,proc,sys,dev,host,scratch,root}
    cp "$(command -v busybox)" "$root/bin/busybox"
    cp "$HERE/init" "$root/init" && chmod +x "$root/init"
    in_order | while read -r path; do
        cp "$path" "$root/modules/"
        basename "$path"
    done > "$root/modules/order"
    (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$BUILD/initrd.gz"
}

boot() {
    local arguments="console=ttyS0 quiet panic=1 rdinit=/init HEADRACE_PYTHON=$PYTHON HEADRACE_REPO=$REPO"
    arguments+=" HEADRACE_VIVID=$(find "$MODULES" -name vivid.ko)"
    # KVM is not asked for: where the nested one is broken it hangs. Two cores are emulated at about a tenth of their speed.
    timeout "${LIMIT_S:-900}" nice -n 5 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 \
        -nographic -no-reboot -nic none -kernel "$BUILD/kernel/boot/vmlinuz-$VERSION" -initrd "$BUILD/initrd.gz" \
        -append "$arguments" \
        -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap \
        -device virtio-9p-pci,fsdev=host,mount_tag=host < /dev/null
}

fetch > "$BUILD/fetch.log" 2>&1 || { tail -20 "$BUILD/fetch.log" >&2; exit 1; }
make_initrd
# The serial line ends lines with CR LF, and begins with the firmware's screen.
boot | tr -d "\r" | tee "$BUILD/console.txt" | sed -u -n "/^kernel /,\$p" | tee "$BUILD/output.txt"
grep -q '^all .* passed$' "$BUILD/output.txt"
