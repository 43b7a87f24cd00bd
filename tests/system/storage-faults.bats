# SPDX-License-Identifier: GPL-2.0-or-later
# The storage fails under guests that write: cut off from one host and from all, for short and for long, and full.
# The long cut is 15 s, longer than a renewal of the host's record (5 s here); VMJOB_LONG=1 makes it 2 min.
load lib

if [ -n "${VMJOB_LONG-}" ]; then long=120; else long=15; fi

setup_file()
{
	import_ext4 empty-ext4
	keep host "$(hosts | head -n 1)"
	keep other "$(hosts | sed -n 2p)"
	new_volume one --image=empty-ext4
	new_volume two --image=empty-ext4
	on ctl bash -c 'truncate -s 64M /tmp/ext4 && mke2fs -q -t ext4 /tmp/ext4 &&
		vmjob image import /tmp/ext4 --storage=small --name small-ext4 --public && rm /tmp/ext4' >/dev/null
	new_volume small:tight --image=small-ext4
	keep one "$(submit_tiny --nodelist="$(kept host)" --vm-disk=volume=one)"
	keep two "$(submit_tiny --nodelist="$(kept other)" --vm-disk=volume=two)"
	keep tight "$(submit_tiny --nodelist="$(hosts | sed -n 3p)" --vm-disk=volume=small:tight)"
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs || :
	bed storage-mend all
	bed storage-mend -s small all
	on ctl rm -f /srv/vmjob-small/filler
	cancel_listed "$BATS_TEST_TMPDIR/jobs"
	remove_volumes "$BATS_TEST_TMPDIR/volumes"
}

teardown_file()
{
	cancel_listed "$BATS_FILE_TMPDIR/jobs"
	remove_volumes "$BATS_FILE_TMPDIR/volumes"
	on ctl vmjob image rm --public empty-ext4
	on ctl vmjob image rm --public --storage=small small-ext4
}

# writing JOB VOLUME: it writes, and is known by its boot.
writing()
{
	await_guest "$1"
	keep "boot-$2" "$(boot_id "$1")"
	start_writing "$1" "$2"
}

# assert_went_on JOB VOLUME: after the mend: it writes more than it had, was not restarted, and what it wrote is right.
assert_went_on()
{
	local before
	before=$(await "$(scaled 40)" written "$1") || fail "the guest of job $1 does not answer after the mend"
	await "$(scaled 40)" writes_on "$1" "$before" >/dev/null || fail "the guest of job $1 writes no more"
	assert_equal "boot id of the guest of job $1" "$(boot_id "$1")" "$(kept "boot-$2")"
	assert_equal "restarts of job $1" "$(job_value "$1" Restarts)" 0
	stop_writing "$1" >/dev/null
	assert_undamaged "$1" "$2"
}

# cut_for SECONDS HOST|all: storage hangs for so long. Slurm and the agents, seen from hosts that are not cut, live on.
cut_for()
{
	bed storage-cut "$2"
	sleep "$1"
	bed storage-mend "$2"
}

@test "storage is cut off from one host for 5 s: its guest waits and goes on, the other does not notice" {
	writing "$(kept one)" one
	writing "$(kept two)" two
	bed storage-cut "$(kept host)"
	local before
	before=$(written "$(kept two)")
	sleep 5
	await "$(scaled 10)" writes_on "$(kept two)" "$before" >/dev/null || fail "the other host's guest does not write"
	on_as alice "$(kept host)" timeout 5 vmjob list --host=localhost >/dev/null || fail "the agent of the cut host does not answer"
	bed storage-mend "$(kept host)"
	assert_went_on "$(kept one)" one
	assert_went_on "$(kept two)" two
}

@test "storage is cut off from all for 5 s: guests wait and go on" {
	writing "$(kept one)" one
	writing "$(kept two)" two
	cut_for 5 all
	assert_went_on "$(kept one)" one
	assert_went_on "$(kept two)" two
}

@test "storage is cut off from one host for long: its guest waits and goes on" {
	writing "$(kept one)" one
	cut_for "$long" "$(kept host)"
	assert_went_on "$(kept one)" one
}

@test "storage is cut off from all for long: guests wait and go on, none is restarted" {
	writing "$(kept one)" one
	writing "$(kept two)" two
	cut_for "$long" all
	assert_went_on "$(kept one)" one
	assert_went_on "$(kept two)" two
	assert_storage_clean
}

@test "during a cut from all, what needs storage is refused or waits, and what does not goes on" {
	local job
	bed storage-cut all
	job=$(submit --wrap='echo ordinary')
	assert_end "$job" COMPLETED 0:0
	on_as alice ctl timeout 20 vmjob list >/dev/null || fail "vmjob list does not answer"
	on_as alice ctl timeout 10 vmjob volume show one >/dev/null 2>&1 && fail "a volume is shown from storage that is cut"
	bed storage-mend all
	await "$(scaled 20)" volume_is one .lease.job "$(kept one)" >/dev/null || fail "volumes are not shown after the mend"
}

@test "after the cuts the file systems are clean" {
	local name
	for name in one two; do
		await_guest "$(kept $name)"
		leave_volume "$(kept $name)" $name || :
		from_guest "$(kept $name)" poweroff
	done
	for name in one two; do
		assert_end "$(kept $name)" COMPLETED 0:0
		assert_file_system_clean $name
	done
	assert_storage_clean
}

@test "storage that fails instead of hanging pauses the guest; its volume is whole" {
	local job host
	host=$(kept host)
	job=$(submit_tiny --nodelist="$host" --vm-disk=volume=one --vm-grace=0:01)
	writing "$job" one
	bed storage-cut -f "$host"
	await_domain "$job" paused "$host"
	assert_equal "why it is paused" "$(shown "$job" .reason)" io
	bed storage-mend "$host"
	cancel "$job"
	assert_end "$job" CANCELLED 0:0
	mend_node "$host"
	job=$(submit_tiny --nodelist="$(kept other)" --vm-disk=volume=one)
	await_guest "$job"
	on_volume "$job" one 'ls'
	assert_storage_clean
}

# fill_small [LEAVE]: the small domain, but for so many KiB.
fill_small()
{
	on ctl bash -c 'cat /dev/zero >/srv/vmjob-small/filler 2>/dev/null; truncate -s "-${1}K" /srv/vmjob-small/filler' _ "${1:-0}"
}

@test "the domain is full while a guest writes: it pauses, and goes on once there is room" {
	local job host
	job=$(kept tight)
	writing "$job" tight
	host=$(host_of "$job")
	fill_small 64
	await_domain "$job" paused "$host"
	assert_equal "why it is paused" "$(shown "$job" .reason)" space
	on ctl rm /srv/vmjob-small/filler
	await_domain "$job" running "$host"
	assert_went_on "$job" tight
	leave_volume "$job" tight
	from_guest "$job" poweroff
	assert_end "$job" COMPLETED 0:0
	assert_file_system_clean small:tight
	assert_storage_clean small
}

# A disk of 12 MiB that does not compress, at FILE on the controller.
random_disk()
{
	as_alice bash -c 'head -c 12M /dev/urandom >"$1"' _ "$1"
}

@test "the domain is full in the middle of an import: refused, nothing is left, and it succeeds with room" {
	local before
	random_disk /tmp/random.raw
	before=$(on ctl find /srv/vmjob-small -type f | wc -l)
	fill_small 11000
	refused small as_alice vmjob image import /tmp/random.raw --storage=small --name random
	on ctl rm /srv/vmjob-small/filler
	assert_equal "files in the domain" "$(on ctl find /srv/vmjob-small -type f | wc -l)" "$before"
	as_alice vmjob image import /tmp/random.raw --storage=small --name random >/dev/null
	as_alice vmjob image rm --storage=small random
}

@test "the domain is full in the middle of a full clone and of a create: refused, nothing is left" {
	local host
	new_volume small:source --size=32M
	on ctl bash -c 'qemu-io -f qcow2 -c "write -P 7 0 12M" "$1/$(jq -r .top "$1/volume.json")" >/dev/null' _ "$(volume_dir small:source)"
	will_have_volume alice small:copy
	fill_small 11000
	refused '' as_alice vmjob volume clone --full small:source copy
	on ctl rm /srv/vmjob-small/filler
	refused copy as_alice vmjob volume show small:copy
	assert_storage_clean small
	as_alice vmjob volume clone --full small:source copy
	assert_storage_clean small
}
