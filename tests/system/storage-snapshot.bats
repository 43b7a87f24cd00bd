# SPDX-License-Identifier: GPL-2.0-or-later
# Snapshots of volumes that nobody uses and of volumes in guests that run.
load lib

setup_file()
{
	import_ext4 empty-ext4
	new_volume live --image=empty-ext4
	keep job "$(submit_tiny --vm-disk=volume=live)"
}

teardown_file()
{
	cancel_listed "$BATS_FILE_TMPDIR/jobs"
	remove_volumes "$BATS_FILE_TMPDIR/volumes"
	on ctl vmjob image rm --public empty-ext4
}

# pattern VOLUME NUMBER: writes it over the first MiB, as its owner with a program of the host.
pattern()
{
	on ctl bash -c 'qemu-io -f qcow2 -c "write -P $2 0 1M" "$1/$(jq -r .top "$1/volume.json")" >/dev/null' _ "$(volume_dir "$1")" "$2"
}

# assert_pattern VOLUME NUMBER
assert_pattern()
{
	local text
	text=$(on ctl bash -c 'qemu-io -r -f qcow2 -c "read -P $2 0 1M" "$1/$(jq -r .top "$1/volume.json")"' _ "$(volume_dir "$1")" "$2" 2>&1)
	[[ $text != *"verification failed"* && $text == *"read 1048576/"* ]] || fail "$1 does not hold the pattern $2: $text"
}

snapshots()
{
	as_alice vmjob snapshot list "$1" --json | on ctl jq -r '.snapshots[].name' | paste -sd' '
}

@test "of a stopped volume: create, list, revert, remove from the middle" {
	local number
	new_volume still --size=16M
	for number in 1 2 3; do
		pattern still "$number"
		as_alice vmjob snapshot create still "s$number"
	done
	pattern still 4
	assert_equal "the snapshots" "$(snapshots still)" "s1 s2 s3"
	as_alice vmjob snapshot rm still s2
	assert_equal "the snapshots" "$(snapshots still)" "s1 s3"
	assert_pattern still 4
	as_alice vmjob snapshot revert still s3
	assert_pattern still 3
	as_alice vmjob snapshot revert still s1
	assert_pattern still 1
	as_alice vmjob snapshot revert still s3
	assert_pattern still 3
	as_alice vmjob snapshot rm still s1
	as_alice vmjob snapshot rm still s3
	assert_pattern still 3
	assert_equal "the snapshots" "$(snapshots still)" ""
	assert_storage_clean
}

@test "a clone of a snapshot has what was there then" {
	new_volume origin --size=16M
	will_have_volume alice copy
	pattern origin 1
	as_alice vmjob snapshot create origin then
	pattern origin 2
	as_alice vmjob volume clone origin copy --snapshot=then
	assert_pattern copy 1
	assert_pattern origin 2
}

@test "what is no snapshot is refused" {
	new_volume wrong --size=16M
	refused_names vmjob snapshot create -- wrong @
	refused_names vmjob snapshot revert -- wrong @
	refused_names vmjob snapshot rm -- wrong @
	refused nosuch as_alice vmjob snapshot revert wrong nosuch
	refused nosuch as_alice vmjob snapshot rm wrong nosuch
	as_alice vmjob snapshot create wrong twice
	refused twice as_alice vmjob snapshot create wrong twice
	refused wrong on_as bob ctl vmjob snapshot create wrong his
}

@test "of a running guest's volume: taken, one removed from the middle, and the guest goes on" {
	local job
	job=$(kept job)
	await_guest "$job"
	on_volume "$job" live 'echo one >note; sync'
	as_alice vmjob snapshot create live one
	on_volume "$job" live 'echo two >note; sync'
	as_alice vmjob snapshot create live two
	on_volume "$job" live 'echo three >note; sync'
	as_alice vmjob snapshot create live three
	start_writing "$job" live
	as_alice vmjob snapshot rm live two
	as_alice vmjob snapshot create live busy
	as_alice vmjob snapshot rm live three
	stop_writing "$job" >/dev/null
	assert_undamaged "$job" live
	assert_equal "the snapshots" "$(snapshots live)" "one busy"
	refused "job $job" as_alice vmjob snapshot revert live one
	leave_volume "$job" live
	from_guest "$job" poweroff
	assert_end "$job" COMPLETED 0:0
	assert_file_system_clean live
	assert_storage_clean
}

@test "a reverted volume has, inside the guest, what was there then" {
	local job
	as_alice vmjob snapshot revert live one
	assert_file_system_clean live
	job=$(submit_tiny --vm-disk=volume=live)
	await_guest "$job"
	assert_equal "the note" "$(on_volume "$job" live 'cat note')" one
	leave_volume "$job" live
	from_guest "$job" poweroff
	assert_end "$job" COMPLETED 0:0
	as_alice vmjob snapshot revert live busy
	assert_file_system_clean live
	as_alice vmjob snapshot rm live one
	as_alice vmjob snapshot rm live busy
	assert_file_system_clean live
	assert_storage_clean
}
