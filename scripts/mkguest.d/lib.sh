# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the recipes share; sourced by their `build`, in the build root, as root. No loop device and no mount is
# needed: file systems are filled by mke2fs -d, partitions and boot sectors written with dd.

. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
# shellcheck disable=SC2034 # read by common.sh
prog=mkguest
export LC_ALL=C
guest_apt=$cache/guest-apt

# apt with lists and packages of its own, so that the build root's are left alone.
guest_apt()
{
	local tool=$1; shift
	"$tool" -q -o Dir::State::Lists="$guest_apt/lists" -o Dir::Cache="$guest_apt/cache" \
		-o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

# Prints the files that say where Debian's packages come from.
guest_sources()
{
	find /etc/apt/sources.list /etc/apt/sources.list.d -type f \( -name '*.list' -o -name '*.sources' \) 2>/dev/null
}

# Brings the package lists up to date, once a day at most; old lists will do where there is no network.
guest_apt_update()
{
	mkdir -p "$guest_apt/lists/partial" "$guest_apt/cache/archives/partial" "$guest_apt/debs"
	[ -z "$(find "$guest_apt/stamp" -mtime -1 2>/dev/null)" ] || return 0
	if guest_apt apt-get update >"$guest_apt/log" 2>&1; then
		touch "$guest_apt/stamp"
	elif [ ! -e "$guest_apt/stamp" ]; then
		cat "$guest_apt/log" >&2
		die "cannot fetch Debian's package lists"
	fi
}

# guest_unpack DIR PACKAGE...: unpacks the packages' files into DIR; nothing is installed.
guest_unpack()
{
	local dir=$1 uris file; shift
	mkdir -p "$dir"
	uris=$(guest_apt apt-get download --print-uris "$@") || die "not all of these packages exist: $*"
	(cd "$guest_apt/debs" && guest_apt apt-get download "$@" >/dev/null) || die "cannot download $*"
	while read -r _ file _; do
		dpkg -x "$guest_apt/debs/$file" "$dir"
	done <<<"$uris"
}

# guest_modules TREE KERNEL DIR MODULE...: copies the modules and all that they need from TREE into DIR and
# lists them in DIR/order as they must be loaded. What the kernel has built in is left out.
guest_modules()
{
	local tree=$1 kernel=$2 dir=$3 module path; shift 3
	mkdir -p "$dir"
	for module; do
		modprobe -d "$tree" -S "$kernel" --show-depends "$module" || die "kernel $kernel has no module $module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$dir/paths"
	while read -r path; do
		strip --strip-debug -o "$dir/${path##*/}" "$path"
		echo "${path##*/}"
	done <"$dir/paths" >"$dir/order"
	rm "$dir/paths"
}

# guest_root_fs TREE LABEL SIZE_MB FILE: makes an ext4 file system with TREE's files.
guest_root_fs()
{
	local tree=$1 label=$2 size=$3 file=$4
	truncate -s "${size}M" "$file"
	mke2fs -q -t ext4 -b 4096 -L "$label" -m 0 -E lazy_itable_init=0,lazy_journal_init=0 -d "$tree" "$file"
}

# Both ways to boot give the kernel no_timer_check: its check of the timer panics where a processor is emulated too slowly.

# guest_disk_grub TREE LABEL SIZE_MB KERNEL_ARGS WORK: makes WORK/image.qcow2, a disk that a BIOS boots: one ext4
# partition labelled LABEL with TREE's files, whose /vmlinuz and /initrd.img GRUB starts.
guest_disk_grub()
{
	local tree=$1 label=$2 size=$3 args=$4 work=$5 lib=/usr/lib/grub/i386-pc disk=$5/disk.raw
	cat >"$work/grub.cfg" <<-END
		linux /vmlinuz root=LABEL=$label rw console=ttyS0 no_timer_check $args
		initrd /initrd.img
		boot
	END
	grub-mkimage -O i386-pc -c "$work/grub.cfg" -p '(,msdos1)/' -o "$work/core.img" \
		biosdisk part_msdos ext2 linux boot
	[ "$(stat -c %s "$work/core.img")" -lt $((2047 * 512)) ] || die "GRUB does not fit before the partition"
	guest_root_fs "$tree" "$label" "$size" "$work/root.ext4"
	truncate -s $((size + 1))M "$disk"
	printf 'label: dos\nstart=2048,type=83,bootable\n' | sfdisk -q "$disk"
	dd if="$work/root.ext4" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
	dd if=$lib/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
	dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
	qemu-img convert -O qcow2 "$disk" "$work/image.qcow2"
}

# guest_disk_syslinux TREE LABEL SIZE_MB KERNEL_ARGS KERNEL INITRD WORK: the same with kernel and initial RAM disk on
# a FAT partition of their own, from which SYSLINUX starts them. Without KVM that is 1.7 s quicker: GRUB moves
# the kernel in memory byte by byte.
guest_disk_syslinux()
{
	local tree=$1 label=$2 size=$3 args=$4 kernel=$5 initrd=$6 work=$7 disk=$7/disk.raw boot=$7/boot.fat boot_size=20
	cat >"$work/syslinux.cfg" <<-END
		DEFAULT linux
		PROMPT 0
		LABEL linux
		KERNEL vmlinuz
		INITRD initrd
		APPEND root=LABEL=$label rw console=ttyS0 no_timer_check $args
	END
	truncate -s ${boot_size}M "$boot"
	mkfs.vfat -n BOOT "$boot" >/dev/null
	mcopy -i "$boot" "$kernel" ::vmlinuz
	mcopy -i "$boot" "$initrd" ::initrd
	mcopy -i "$boot" "$work/syslinux.cfg" ::
	syslinux --install "$boot"
	guest_root_fs "$tree" "$label" "$size" "$work/root.ext4"
	truncate -s $((1 + boot_size + size))M "$disk"
	printf 'label: dos\nstart=2048,size=%d,type=e,bootable\ntype=83\n' $((boot_size * 2048)) | sfdisk -q "$disk"
	dd if="$boot" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
	dd if="$work/root.ext4" of="$disk" bs=1M seek=$((1 + boot_size)) conv=notrunc,sparse status=none
	dd if=/usr/lib/syslinux/mbr/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
	qemu-img convert -O qcow2 "$disk" "$work/image.qcow2"
}
