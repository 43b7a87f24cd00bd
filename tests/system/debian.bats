# SPDX-License-Identifier: GPL-2.0-or-later
# A full Debian 12 with systemd and cloud-init, as the recipe makes it, on a root disk of its own that is kept.
# Slow without KVM.
load lib

setup_file()
{
	on ctl bash -c 'cat >/tmp/debian12.qcow2 && vmjob image import /tmp/debian12.qcow2 --name debian12 --public' \
		<"$("$top/scripts/mkguest" debian12)" >/dev/null
	on ctl rm /tmp/debian12.qcow2
}

# debian_guest: starts it, the first time from the image; prints the job.
debian_guest()
{
	submit --vm-image=debian12 --vm-persistent=pet --vm-memory=512M --vm-script=none --cpus-per-task=2 --vm-grace=4 --wrap=true
}

@test "Debian 12 boots, takes its name and address from cloud-init, and powers off when asked" {
	local job address
	echo "alice pet" >>"$BATS_FILE_TMPDIR/volumes"
	job=$(debian_guest)
	await_guest "$job" 240
	await "$(scaled 120)" name_is "$job" pet >/dev/null || fail "its host name is $(in_guest "$job" hostname)"
	address=$(shown "$job" '.ports[0].address' | cut -d/ -f1)
	await "$(scaled 60)" on ctl ping -c 1 -W 1 "$address" >/dev/null || fail "$address does not answer"
	in_guest "$job" 'echo before >/root/note && sync'
	as_alice vmjob snapshot create pet before
	in_guest "$job" 'echo after >/root/note && rm /etc/motd && sync'
	as_alice vmjob stop "$job"
	assert_end "$job" COMPLETED 0:0 240
	assert_output "$job" "powered off"
	assert_nothing_left "$(host_of "$job")" "$job"
}

name_is()
{
	[ "$(in_guest "$1" hostname)" = "$2" ]
}

@test "its disk, reverted to a snapshot of when it ran, boots with what was there then" {
	local job
	as_alice vmjob snapshot revert pet before
	job=$(debian_guest)
	await_guest "$job" 240
	assert_equal "the note" "$(in_guest "$job" 'cat /root/note')" before
	in_guest "$job" 'test -e /etc/motd' || fail "what was removed after the snapshot is not there again"
	in_guest "$job" '! dmesg | grep -E "EXT4-fs (error|warning)|I/O error"' || fail "the file system is damaged"
	as_alice vmjob stop --force "$job"
	assert_end "$job" FAILED 72:0
}
