# SPDX-License-Identifier: GPL-2.0-or-later
# Volumes: what their owner can do with them, what guests find on them, and who is refused what.
load lib

setup_file()
{
	import_ext4 empty-ext4
	keep first "$(hosts | head -n 1)"
	keep second "$(hosts | sed -n 2p)"
	new_volume data --image=empty-ext4
	new_volume plugged --image=empty-ext4
	will_have_volume alice pet
	keep job "$(submit_tiny --nodelist="$(kept first)" --vm-disk=volume=data)"
	keep pet "$(submit_tiny --nodelist="$(kept first)" --vm-persistent=pet)"
}

teardown_file()
{
	cancel_listed "$BATS_FILE_TMPDIR/jobs"
	remove_volumes "$BATS_FILE_TMPDIR/volumes"
	on ctl vmjob image rm --public empty-ext4
}

# volumes: the names of alice's.
volumes()
{
	as_alice vmjob volume list --json | on ctl jq -r '.volumes[].name' | sort | paste -sd' '
}

@test "create, list, show, resize, rm" {
	new_volume plain --size=20M
	[[ " $(volumes) " == *" plain "* ]] || fail "the list is: $(volumes)"
	assert_equal "bytes of the disk" "$(volume_value plain .virtual_bytes)" $((20 << 20))
	as_alice vmjob volume resize plain 30M
	assert_equal "bytes of the grown disk" "$(volume_value plain .virtual_bytes)" $((30 << 20))
	refused "only grow" as_alice vmjob volume resize plain 10M
	refused plain as_alice vmjob volume create plain --size=1M
	as_alice vmjob volume rm plain
	refused plain as_alice vmjob volume show plain
	[[ " $(volumes) " != *" plain "* ]] || fail "the list is: $(volumes)"
}

@test "a linked clone shares what is there, a full one shares nothing; both have the content" {
	local file
	new_volume source --image=tiny
	will_have_volume alice linked
	will_have_volume alice full
	as_alice vmjob volume clone source linked
	as_alice vmjob volume clone source full --full
	for file in linked full; do
		on ctl bash -c 'qemu-img compare -q "$1/$(jq -r .top "$1/volume.json")" "$2/$(jq -r .top "$2/volume.json")"' \
			_ "$(volume_dir source)" "$(volume_dir "$file")" || fail "$file has another content than its source"
	done
	[ "$(shared_files linked)" -gt 0 ] || fail "the linked clone is a copy"
	assert_equal "files that the full clone shares" "$(shared_files full)" 0
	as_alice vmjob volume rm source
	on ctl bash -c 'qemu-img check -q "$1/$(jq -r .top "$1/volume.json")"' _ "$(volume_dir linked)"
	assert_storage_clean
}

shared_files()
{
	on ctl bash -c 'find "$1" -name "*.qcow2" -links +1 | wc -l' _ "$(volume_dir "$1")"
}

@test "another user's volume is refused" {
	local job
	refused data on_as bob ctl vmjob volume show data
	refused data on_as bob ctl vmjob volume rm data
	refused data on_as bob ctl vmjob volume resize data 1G
	refused data on_as bob ctl vmjob volume clone data mine
	job=$(submit_as bob "${blank_guest[@]}" --vm-disk=volume=data)
	assert_end "$job" FAILED 1:0
	assert_output "$job" '"data"'
	on_as bob "$(kept first)" bash -c '! cat "$1"/* 2>/dev/null && ! ls "$1" 2>/dev/null' _ "$(volume_dir data)" ||
		fail "bob can look into alice's volume"
}

@test "names that are no names are refused, by every verb" {
	local before
	before=$(volumes)
	refused_names vmjob volume create --size=1M -- @
	refused_names vmjob volume rm -- @
	refused_names vmjob volume show -- @
	refused_names vmjob volume clone -- data @
	refused_names vmjob volume resize -- @ 1G
	refused_names sbatch "${blank_guest[@]}" --vm-disk=volume=@
	assert_equal volumes "$(volumes)" "$before"
}

@test "sizes that are no sizes are refused" {
	local size
	for size in '' 0 -1 nonsense 1e9 99999999999999999999; do
		refused '' as_alice vmjob volume create never --size="$size"
	done
	refused never as_alice vmjob volume show never
}

@test "a guest finds its volume by its name and writes to it" {
	local job
	job=$(kept job)
	await_guest "$job"
	on_volume "$job" data 'echo "from the first start" >note && md5sum note'
	assert_equal "its lease" "$(volume_value data .lease.job)" "$job"
	assert_equal "the lease's host" "$(volume_value data .lease.host)" "$(kept first)"
}

@test "a second start anywhere is refused with who holds it since when" {
	local job
	await_guest "$(kept job)"
	for host in "$(kept first)" "$(kept second)"; do
		job=$(submit_blank --nodelist="$host" --vm-disk=volume=data)
		assert_end "$job" FAILED 1:0
		assert_output "$job" "job $(kept job) on $(kept first) since"
		assert_equal "lines of its output" "$(output_of "$job" | grep -c .)" 1
		node_is "$host" 'idle|mixed' || fail "$host is $(node_is "$host" '') after a user's fault"
	done
	refused "job $(kept job)" as_alice vmjob volume rm data
	refused "job $(kept job)" as_alice vmjob volume clone data never
}

@test "a volume is attached to a guest that runs, and detached" {
	local job
	job=$(kept job)
	await_guest "$job"
	as_alice vmjob volume attach "$job" plugged
	await "$(scaled 10)" in_guest "$job" "$disk_in_guest disk plugged" >/dev/null || fail "the guest does not see it"
	on_volume "$job" plugged 'echo hot >note'
	refused "job $job" as_alice vmjob volume rm plugged
	leave_volume "$job" plugged
	as_alice vmjob volume detach "$job" plugged
	await "$(scaled 10)" in_guest "$job" "$disk_in_guest ! disk plugged" || fail "the guest still sees it"
	await "$(scaled 10)" volume_is plugged .lease.held false >/dev/null || fail "its lease is not released"
	assert_file_system_clean plugged
}

@test "a volume grows under a guest that runs" {
	local job
	job=$(kept job)
	await_guest "$job"
	as_alice vmjob volume resize data 24M
	assert_equal "sectors in the guest" "$(in_guest "$job" "$disk_in_guest cat /sys/block/\$(basename \$(disk data))/size")" $((24 << 11))
}

@test "what guests wrote on volumes and persistent disks is there at the next start, on another host" {
	local job
	job=$(kept pet)
	await_guest "$job"
	in_guest "$job" 'echo "of the pet" >/root/note; sync'
	from_guest "$job" poweroff
	leave_volume "$(kept job)" data
	from_guest "$(kept job)" poweroff
	assert_end "$job" COMPLETED 0:0
	assert_end "$(kept job)" COMPLETED 0:0
	job=$(submit_tiny --nodelist="$(kept second)" --vm-persistent=pet --vm-disk=volume=data --vm-disk=volume=plugged,ro)
	await_guest "$job"
	assert_equal "the note on the volume" "$(on_volume "$job" data 'cat note')" "from the first start"
	assert_equal "the note on the root disk" "$(in_guest "$job" 'cat /root/note')" "of the pet"
	in_guest "$job" "$disk_in_guest"' ! dd if=/dev/zero of=$(disk plugged) count=1 2>/dev/null' || fail "a read-only disk is written"
	leave_volume "$job" data
	from_guest "$job" poweroff
	assert_end "$job" COMPLETED 0:0
	assert_nothing_left "$(kept second)" "$job"
	assert_file_system_clean data
	assert_storage_clean
}

# With another vmjob.conf on one host, whose agent is asked: with_conf HOST SED-SCRIPT; plain_conf HOST.
with_conf()
{
	on "$1" bash -c 'cp /etc/slurm/vmjob.conf /etc/slurm/vmjob.conf.plain && sed -i "$1" /etc/slurm/vmjob.conf' _ "$2"
	stop_daemon "$1" vmjobd
	start_daemon "$1" vmjobd
}

plain_conf()
{
	on "$1" mv /etc/slurm/vmjob.conf.plain /etc/slurm/vmjob.conf
	stop_daemon "$1" vmjobd
	start_daemon "$1" vmjobd
}

@test "a quota is refused with its numbers" {
	local host text
	host=$(hosts | tail -n 1)
	new_volume small:within --size=16M
	on "$host" bash -c 'qemu-io -f qcow2 -c "write 0 9M" -c "flush" "$1/$(jq -r .top "$1/volume.json")"' _ "$(volume_dir small:within)" >/dev/null
	with_conf "$host" '/path = "\/srv\/vmjob-small"/a quota = 8M'
	will_have_volume alice small:over
	text=$(on_as alice "$host" vmjob volume create small:over --size=1G 2>&1) && text="accepted $text"
	plain_conf "$host"
	[[ $text == *quota*8M* ]] || fail "beyond the quota: $text"
}

@test "below the low watermark no new disk is promised" {
	local host text
	host=$(hosts | tail -n 1)
	on ctl dd if=/dev/zero of=/srv/vmjob-small/filler bs=1M count=89 status=none
	text=$(on_as alice "$host" vmjob volume create small:low --size=1M 2>&1) && text="accepted $text"
	on ctl rm /srv/vmjob-small/filler
	[[ $text == *small*10*%* ]] || fail "below the low watermark: $text"
	refused low on_as alice "$host" vmjob volume show small:low
	new_volume small:room --size=1M
}
