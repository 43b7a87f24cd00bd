# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Storage: domains, images, volumes, and what a guest does with its disks.

# domain_path [DOMAIN]: as vmjob.conf has it; the first without DOMAIN.
domain_path()
{
	on ctl awk -v wanted="${1-}" '$1 == "storage" { name = $2 }
		$1 == "path" && (wanted == "" || name == wanted) { gsub(/"/, ""); print $3; exit }' /etc/slurm/vmjob.conf
}

# refused WORD COMMAND...: the command fails with one printable sentence that has the word.
refused()
{
	local word=$1 text status=0
	shift
	text=$("$@" 2>&1) || status=$?
	[ $status != 0 ] || fail "accepted:$(printf ' %q' "$@"): $text"
	[ $status -lt 126 ] || fail "crashed with $status:$(printf ' %q' "$@"): $text"
	[[ $text == *"$word"* ]] || fail "the refusal of$(printf ' %q' "$@") lacks '$word': $text"
	[ "$(wc -l <<<"$text")" = 1 ] || fail "the refusal of$(printf ' %q' "$@") is more than a sentence: $text"
	! grep -q '[[:cntrl:]]' <<<"$text" || fail "the refusal has control characters: $(printf %q "$text")"
}

# refused_names COMMAND...: as alice, for each name that is none in place of @.
refused_names()
{
	there_as alice ctl names_refused "$@" >&2
}

# as_alice COMMAND...: on the controller. Most of what users do here.
as_alice()
{
	on_as alice ctl "$@"
}

# new_volume [STORAGE:]NAME [ARG...]: `vmjob volume create` as alice; removed when the test (the file, in setup_file) ends.
# will_have_volume USER [STORAGE:]NAME: the same for one that comes otherwise.
new_volume()
{
	will_have_volume alice "$1"
	as_alice vmjob volume create "$@"
}

will_have_volume()
{
	echo "$1 $2" >>"${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}/volumes"
}

# Removes the volumes listed in a file. Their jobs have ended.
remove_volumes()
{
	local user name
	[ -e "$1" ] || return 0
	sort -u "$1" | while read -r user name; do
		! on_as "$user" ctl vmjob volume show "$name" >/dev/null 2>&1 </dev/null ||
			on_as "$user" ctl vmjob volume rm "$name" </dev/null || :
	done
}

# volume_value [STORAGE:]NAME JQ-PATH: of alice's volume.
volume_value()
{
	as_alice vmjob volume show "$1" --json | on ctl jq -r "$2"
}

# volume_is [STORAGE:]NAME JQ-PATH VALUE: prints the value it has; succeeds if it is this.
volume_is()
{
	local seen
	seen=$(volume_value "$1" "$2") || return
	echo "$seen"
	[ "$seen" = "$3" ]
}

# volume_dir [STORAGE:]NAME: where the files of alice's volume are.
volume_dir()
{
	local storage=default
	[[ $1 != *:* ]] || storage=${1%%:*}
	echo "$(domain_path "$storage")/volumes/$(on ctl id -u alice)/${1#*:}"
}

# assert_storage_clean [DOMAIN]: `vmjob storage check` finds nothing to say.
assert_storage_clean()
{
	local text
	text=$(on n1 vmjob storage check "${1:-default}" 2>&1) || fail "vmjob storage check finds: $text"
}

# import_ext4 NAME: a public image of 16 MiB with an empty ext4 on all of it, for volumes that guests mount.
import_ext4()
{
	on ctl bash -c 'truncate -s 16M "/tmp/$1" && mke2fs -q -t ext4 "/tmp/$1" && vmjob image import "/tmp/$1" --name "$1" --public &&
		rm "/tmp/$1"' _ "$1" >/dev/null
}

# In a guest: prints the device of the disk whose serial is the volume's name; mounts it at /mnt/NAME.
disk_in_guest='disk() { for d in /sys/block/vd*; do [ "$(cat "$d/serial")" != "$1" ] || echo "/dev/${d##*/}"; done | grep .; }
mounted() { mkdir -p "/run/$1" && { grep -q " /run/$1 " /proc/mounts || mount -t ext4 "$(disk "$1")" "/run/$1"; } && cd "/run/$1"; }
'

# on_volume JOB NAME COMMAND: runs it in the guest, in the file system of the volume.
on_volume()
{
	in_guest "$1" "$disk_in_guest mounted $2 && { $3
}"
}

# leave_volume JOB NAME: unmounts it, so that all is written.
leave_volume()
{
	in_guest "$1" "umount /run/$2"
}

# start_writing JOB NAME: from now on the guest writes files of known content there, 64 KiB each, each synced.
# stop_writing prints how many; assert_written compares all with what was written.
start_writing()
{
	from_guest "$1" "$disk_in_guest mounted $2 && rm -f /run/stop-writing && i=0
		while [ ! -e /run/stop-writing ]; do
			i=\$((i + 1)); n=\$((i % 100))
			rm -f sum\$n; head -c 65536 /dev/urandom >file\$n && md5sum file\$n >/run/sum && cp /run/sum sum\$n && sync || break
			echo \$i >/run/written
		done; touch /run/writing-ended"
	await "$(scaled 20)" in_guest "$1" 'cat /run/written' >/dev/null || fail "the guest of job $1 does not write to $2"
}

stop_writing()
{
	in_guest "$1" 'touch /run/stop-writing'
	await "$(scaled 30)" in_guest "$1" 'test -e /run/writing-ended' >/dev/null || fail "the guest of job $1 does not end writing"
	in_guest "$1" 'cat /run/written; rm -f /run/written /run/writing-ended'
}

written()
{
	in_guest "$1" 'cat /run/written'
}

# writes_on JOB COUNT: it has written more files than so many.
writes_on()
{
	local now
	now=$(written "$1") && echo "$now" && [ "$now" -gt "$2" ]
}

# assert_undamaged JOB NAME: what was written is read back from the disk, and the guest's kernel has not complained.
assert_undamaged()
{
	local seen
	seen=$(in_guest "$1" "$disk_in_guest umount /run/$2; echo 3 >/proc/sys/vm/drop_caches; mounted $2 &&
		cat sum* >/run/sums && md5sum -c /run/sums 2>&1 | grep -v ': OK\$'
		dmesg | grep -E 'EXT4-fs (error|warning)|I/O error|hung|corrupt'") || :
	[ -z "$seen" ] || fail "in the guest of job $1: $seen"
}

# assert_file_system_clean [STORAGE:]NAME: of alice's volume, which nobody uses: the ext4 on all of it.
assert_file_system_clean()
{
	local text
	text=$(on ctl bash -c 'file=$1/$(jq -r .top "$1/volume.json") && qemu-img check -q "$file" &&
		qemu-img convert -O raw "$file" /tmp/checked.raw && e2fsck -fn /tmp/checked.raw; rc=$?; rm -f /tmp/checked.raw; exit $rc' \
		_ "$(volume_dir "$1")" 2>&1) || fail "volume $1: $text"
}
