# SPDX-License-Identifier: GPL-2.0-or-later
# Any daemon may restart or be killed under a guest: the guest and its job go on, and end well afterwards.
load lib

setup_file()
{
	keep_guest guest --job-name=goes-on
	keep crashing "$(hosts | tail -n 1)"
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs || :
	cancel_listed "$BATS_TEST_TMPDIR/jobs"
}

# goes_on DAEMON [HOST]: the daemon is restarted in order, then killed with signal 9 and started again; the
# guest is the same one after each, its job runs, and its owner is served.
goes_on()
{
	local job host
	job=$(kept guest)
	await_guest "$job"
	[ -e "$BATS_FILE_TMPDIR/kept-boot" ] || keep boot "$(boot_id "$job")"
	host=${2:-$(host_of "$job")}
	stop_daemon "$host" "$1"
	start_daemon "$host" "$1"
	assert_goes_on "$job"
	kill_daemon "$host" "$1"
	assert_goes_on "$job"
}

assert_goes_on()
{
	local host
	await_state "$1" RUNNING
	await_guest "$1" 30
	assert_equal "boot id of the guest" "$(boot_id "$1")" "$(kept boot)"
	await "$(scaled 30)" owner_sees "$1" running >/dev/null || fail "its owner does not see the guest running"
}

owner_sees()
{
	[ "$(shown "$1" .phase)" = "$2" ]
}

@test "slurmctld restarts" {
	goes_on slurmctld ctl
}

@test "slurmdbd restarts" {
	goes_on slurmdbd ctl
}

@test "slurmd restarts" {
	goes_on slurmd
}

@test "vmjobd restarts" {
	goes_on vmjobd
}

@test "libvirtd restarts" {
	goes_on libvirtd
}

@test "virtlogd restarts" {
	goes_on virtlogd
}

@test "after all that the guest powers off and completes its job" {
	local job
	job=$(kept guest)
	from_guest "$job" poweroff
	assert_end "$job" COMPLETED 0:0
	assert_nothing_left "$(host_of "$job")" "$job"
}

# domain_is_gone JOB HOST: libvirt has noticed, and will tell nobody any more how it ended.
domain_is_gone()
{
	on "$2" virsh -q -c qemu:///system list --all --name | { ! grep -x "vmjob-$1"; }
}

@test "a guest that ends while vmjobd is down is accounted when it is back" {
	local job host pid
	job=$(submit_blank)
	await_domain "$job" running
	host=$(host_of "$job")
	pid=$(qemu_pid "$job")
	stop_daemon "$host" vmjobd
	on "$host" kill -9 "$pid"
	await "$(scaled 30)" domain_is_gone "$job" "$host" >/dev/null || fail "libvirt does not see that the guest ended"
	start_daemon "$host" vmjobd
	assert_end "$job" FAILED 74:0
	assert_nothing_left "$host" "$job"
}

# crash_at STEP: the agent dies right after a step and comes back; the guest still starts and ends, and nothing
# is left.
crash_at()
{
	local job host pid
	host=$(kept crashing)
	stop_daemon "$host" vmjobd
	# Read by the shell that starts the agent; it takes itself away, so that the agent dies but once.
	on "$host" sh -c 'printf "VMJOB_CRASH_AT=%s\nrm /etc/default/vmjobd\n" "$1" >/etc/default/vmjobd' _ "$1"
	start_daemon "$host" vmjobd
	pid=$(on "$host" /run/bed/svc pid vmjobd)
	job=$(submit_blank --vm-grace=0:01 --nodelist="$host")
	if [[ $1 == release.* ]]; then
		await_domain "$job" running
		cancel "$job"
	fi
	await "$(scaled 30)" daemon_is_new "$host" vmjobd "$pid" >/dev/null || fail "vmjobd did not crash at $1"
	if [[ $1 != release.* ]]; then
		await_domain "$job" running
		cancel "$job"
	fi
	assert_end "$job" CANCELLED 0:0
	assert_nothing_left "$host" "$job"
}

# crash_at_each PART: at each of its steps, as vmjobd lists them.
crash_at_each()
{
	local step steps
	steps=$(on "$(kept crashing)" vmjobd --list-steps | grep "^$1\.") || fail "vmjobd lists no steps of $1"
	for step in $steps; do
		echo "after $step"
		crash_at "$step"
	done
}

@test "vmjobd killed after any step of prepare: the guest starts, nothing leaks" {
	crash_at_each prepare
}

@test "vmjobd killed after any step of run: the guest goes on, nothing leaks" {
	crash_at_each run
}

@test "vmjobd killed after any step of release: all goes, nothing leaks" {
	crash_at_each release
}
