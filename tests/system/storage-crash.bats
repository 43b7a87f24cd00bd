# SPDX-License-Identifier: GPL-2.0-or-later
# vmjobd killed at every step of what it does to volumes: the same command again succeeds, and nothing is left over.
load lib

setup_file()
{
	keep host "$(hosts | tail -n 1)"
	new_volume live --size=8M
	keep job "$(submit_blank --nodelist="$(kept host)" --vm-disk=volume=live --vm-grace=0:01)"
}

# here COMMAND...: as alice on the host whose agent is killed.
here()
{
	on_as alice "$(kept host)" vmjob "$@"
}

# crash_at_each STEPS MAKE RIGHT COMMAND...: for each step that vmjobd lists and the pattern STEPS fits: MAKE makes what
# there is before, the agent dies after the step while it does the command, and the command is given again: then it is
# done, or was before and says so. RIGHT tells whether the end is the one that it should be.
crash_at_each()
{
	local steps=$1 make=$2 right=$3 step text
	shift 3
	for step in $(listed_steps "$steps"); do
		echo "after $step"
		$make >/dev/null
		crash_at "$step" "$@"
		text=$(here "$@" 2>&1) || [[ $text == *broken* ]] || fail "after a crash at $step: $text"
		$right || fail "after a crash at $step it is not as it should be; the command again said: $text"
		assert_storage_clean
		clear_away
		echo "$step" >>"$BATS_FILE_TMPDIR/walked"
	done
}

# listed_steps PATTERN: those of vmjobd that it fits.
listed_steps()
{
	on "$(kept host)" vmjobd --list-steps | grep -xE "$1" || fail "vmjobd lists no steps that are $1"
}

clear_away()
{
	local volume
	for volume in broken origin; do
		! here volume show "$volume" >/dev/null 2>&1 || here volume rm "$volume" </dev/null
	done
}

# The agent dies after the step while it does the command, and is back.
crash_at()
{
	local host pid
	host=$(kept host)
	stop_daemon "$host" vmjobd
	# Read by the shell that starts the agent; it takes itself away, so that the agent dies but once.
	on "$host" sh -c 'printf "VMJOB_CRASH_AT=%s\nrm /etc/default/vmjobd\n" "$1" >/etc/default/vmjobd' _ "$1"
	start_daemon "$host" vmjobd
	pid=$(on "$host" /run/bed/svc pid vmjobd)
	here "${@:2}" >/dev/null 2>&1 || :
	await "$(scaled 20)" daemon_is_new "$host" vmjobd "$pid" >/dev/null || fail "vmjobd did not crash at $1"
	on "$host" /run/bed/svc start vmjobd
}

# pattern NUMBER [VOLUME [SIZE]], holds NUMBER [VOLUME]: over the first MiB.
pattern()
{
	on "$(kept host)" bash -c 'qemu-io -f qcow2 -c "write -P $2 0 $3" "$1/$(jq -r .top "$1/volume.json")" >/dev/null' \
		_ "$(volume_dir "${2:-broken}")" "$1" "${3:-1M}"
}

holds()
{
	local text
	text=$(on "$(kept host)" bash -c 'qemu-io -r -f qcow2 -c "read -P $2 0 1M" "$1/$(jq -r .top "$1/volume.json")"' \
		_ "$(volume_dir "${2:-broken}")" "$1" 2>&1)
	[[ $text != *"verification failed"* && $text == *"read 1048576/"* ]] || { echo "$text"; return 1; }
}

nothing()
{
	:
}

one_volume()
{
	here volume create broken --size=8M
	pattern 1
}

an_origin()
{
	here volume create origin --size=8M
	pattern 1 origin
}

one_snapshot()
{
	one_volume
	here snapshot create broken first
	pattern 2
}

# The first layer has more in it than the second, which goes into it.
two_snapshots()
{
	one_volume
	pattern 1 broken 3M
	here snapshot create broken first
	pattern 2
	here snapshot create broken second
	pattern 3
}

# The second layer has more in it than the first, which goes into it then.
uneven_snapshots()
{
	one_volume
	here snapshot create broken first
	pattern 2 broken 3M
	here snapshot create broken second
	pattern 3
}

a_branch()
{
	two_snapshots
	here snapshot revert broken first
}

is_there()
{
	here volume show broken >/dev/null
}

is_gone()
{
	! here volume show broken >/dev/null 2>&1
}

has_grown()
{
	[ "$(here volume show broken --json | jq .virtual_bytes)" = $((16 << 20)) ] && holds 1
}

is_cloned()
{
	holds 1 broken && holds 1 origin
}

has_snapshots()
{
	[ "$(here snapshot list broken --json | jq -r '.snapshots[].name' | paste -sd' ')" = "$1" ]
}

has_first()
{
	has_snapshots first && holds 1
}

is_reverted()
{
	holds 1 && has_snapshots first
}

is_merged()
{
	has_snapshots second && holds 3 && here snapshot revert broken second && holds 2
}

@test "killed at every step of create" {
	crash_at_each 'volume\.(make|base|top|seal|commit)' nothing is_there volume create broken --image=tiny
}

@test "killed at every step of rm" {
	crash_at_each 'volume\.(hide|gone)' one_volume is_gone volume rm broken
}

@test "killed at every step of clone" {
	crash_at_each 'clone\.(make|link|top|seal|source-top|commit-source|commit)' an_origin is_cloned volume clone origin broken
}

@test "killed at every step of a full clone" {
	crash_at_each 'clone\.(make|copy|commit)' an_origin is_cloned volume clone origin broken --full
}

@test "killed at every step of resize" {
	crash_at_each 'resize\..*' one_volume has_grown volume resize broken 16M
}

@test "killed at every step of snapshot" {
	crash_at_each 'snapshot\..*' one_volume has_first snapshot create broken first
}

@test "killed at every step of revert" {
	crash_at_each 'revert\..*' one_snapshot is_reverted snapshot revert broken first
}

@test "killed at every step of a snapshot's removal, with its merge" {
	crash_at_each '(forget|merge)\..*' two_snapshots is_merged snapshot rm broken first
}

@test "killed at every step of a merge that pulls" {
	crash_at_each 'pull\..*' uneven_snapshots is_merged snapshot rm broken first
}

@test "killed at every step of the removal of a branch" {
	crash_at_each 'unused\..*' a_branch has_first snapshot rm broken second
}

# The same with the volume in a guest, one guest for all steps.

# live_io NUMBER [SIZE]: writes; live_holds NUMBER: reads. By QEMU, over the first MiB.
live_io()
{
	there "$(kept host)" qemu_writes "vmjob-$(kept job)" live "write -P $1 0 ${2:-1M}"
}

live_holds()
{
	there "$(kept host)" qemu_holds "vmjob-$(kept job)" live "$1"
}

# live_snapshots SIZE: what is held is 2 at `one`, 3 at `two`, of which so much was written, 4 at `three`, and 5 now.
live_snapshots()
{
	live_io 2
	here snapshot create live one
	live_io 3 "$1"
	here snapshot create live two
	live_io 4
	here snapshot create live three
	live_io 5
}

crash_live_at_each()
{
	local steps=$1 size=$2 name=$3 step text
	for step in $(listed_steps "$steps"); do
		echo "after $step"
		live_snapshots "$size" >/dev/null
		crash_at "$step" snapshot rm live "$name"
		live_holds 5 || fail "after a crash at $step the guest has something else on its disk"
		text=$(here snapshot rm live "$name" 2>&1) || [[ $text == *"$name"* ]] || fail "after a crash at $step: $text"
		live_holds 5 || fail "after a crash at $step and the rest of it the guest has something else on its disk"
		for name in one two three; do
			here snapshot rm live "$name" || [ "$name" = "$3" ]
		done
		name=$3
		live_holds 5
		echo "$step" >>"$BATS_FILE_TMPDIR/walked"
	done
}

@test "killed at every step of a snapshot of a running guest" {
	local step text
	await_domain "$(kept job)" running
	for step in $(listed_steps 'snapshot\..*'); do
		echo "after $step"
		live_io 6
		crash_at "$step" snapshot create live during
		live_holds 6
		live_io 7
		text=$(here snapshot create live during 2>&1) || [[ $text == *during* ]] || fail "after a crash at $step: $text"
		live_holds 7
		here snapshot rm live during
	done
}

@test "killed at every step of a merge under a running guest" {
	crash_live_at_each 'live-merge\..*' 1M two
}

@test "killed at every step of a merge into the top of a running guest" {
	crash_live_at_each 'live-pull\..*' 1M three
}

@test "after all that the guest goes on, its volume is whole, and no step was left out" {
	local left
	domain_is "$(kept job)" "$(kept host)" running
	cancel "$(kept job)"
	assert_end "$(kept job)" CANCELLED 0:0
	assert_storage_clean
	on ctl bash -c 'qemu-img check -q "$1/$(jq -r .top "$1/volume.json")"' _ "$(volume_dir live)"
	left=$(on "$(kept host)" vmjobd --list-steps | grep -vE '^(prepare|run|release|attach|detach)\.' | sort -u |
		grep -vxFf "$BATS_FILE_TMPDIR/walked") || true
	[ -z "$left" ] || fail "no test walked: $left"
}
