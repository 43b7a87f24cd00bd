# SPDX-License-Identifier: GPL-2.0-or-later
# Every ending of a guest's job: what sacct records, and that nothing stays behind.
load lib

# Guests that must boot start together, and before they are needed: booting is what takes time here. The two
# that wait for Slurm's time limit (in minutes) have their clocks set as soon as they are up, and are looked at last.
setup_file()
{
	keep_guest limited --job-name=limited --vm-grace=1
	keep_guest warned --job-name=warned --signal=B:USR1@60 --vm-grace=1
	keep_guest first --job-name=first
	keep_guest panics --job-name=panics
	keep_guest eats --job-name=eats --vm-memory=256M
	keep_guest obeys --job-name=obeys --vm-grace="$(scaled 20)s"
	if [ -z "${VMJOB_ONE_BY_ONE-}" ]; then
		limit_kept limited 1
		limit_kept warned 2
	fi
}

limit_kept()
{
	await_guest "$(kept "$1")"
	limit_time "$(kept "$1")" "$2"
}

# limit_time JOB MINUTES: no more than so many minutes from now.
limit_time()
{
	local minutes
	minutes=$(on ctl squeue -h -j "$1" -o %M | awk -F: '{ print ($(NF - 1) + 60 * $(NF - 2)) + 0 }')
	on ctl scontrol update jobid="$1" timelimit=$((minutes + $2))
}

@test "a guest that reboots goes on in its job, one that powers off completes it" {
	local job boot
	job=$(kept first)
	await_guest "$job"
	boot=$(boot_id "$job")
	from_guest "$job" 'reboot'
	await "$(scaled 60)" another_boot "$job" "$boot" >/dev/null || fail "the guest has not rebooted"
	await_state "$job" RUNNING
	from_guest "$job" 'poweroff'
	assert_end "$job" COMPLETED 0:0
	assert_equal "exit code of the batch step" "$(sacct_value "$job.batch" exitcode)" 0:0
	assert_nothing_left "$(host_of "$job")" "$job"
}

another_boot()
{
	local now
	now=$(boot_id "$1") && [ -n "$now" ] && [ "$now" != "$2" ]
}

@test "suspend stops a guest, resume lets it go on where it was" {
	local job host boot
	job=$(submit_tiny)
	await_guest "$job"
	host=$(host_of "$job")
	boot=$(boot_id "$job")
	on ctl scontrol suspend "$job"
	await_state "$job" SUSPENDED
	await_domain "$job" paused "$host"
	on ctl scontrol resume "$job"
	await_state "$job" RUNNING
	await_domain "$job" running
	await_guest "$job"
	assert_equal "boot id of the guest" "$(boot_id "$job")" "$boot"
	from_guest "$job" 'poweroff'
	assert_end "$job" COMPLETED 0:0
	assert_nothing_left "$host" "$job"
}

@test "a guest's panic fails the job with 70" {
	local job
	job=$(kept panics)
	await_guest "$job"
	from_guest "$job" 'echo c >/proc/sysrq-trigger'
	assert_end "$job" FAILED 70:0
	assert_output "$job" panic
	assert_nothing_left "$(host_of "$job")" "$job"
}

@test "QEMU killed fails the job with 71" {
	local job
	job=$(submit_blank)
	await_domain "$job" running
	on "$(host_of "$job")" kill -9 "$(qemu_pid "$job")"
	assert_end "$job" FAILED 71:0
	assert_output "$job" QEMU
	assert_nothing_left "$(host_of "$job")" "$job"
}

@test "scancel shuts a guest down that obeys ACPI" {
	local job
	job=$(kept obeys)
	await_guest "$job"
	cancel "$job"
	assert_end "$job" CANCELLED 0:0
	assert_output "$job" "powered off"
	assert_nothing_left "$(host_of "$job")" "$job"
}

@test "scancel destroys a guest that ignores ACPI when its grace time is over" {
	local job start
	job=$(submit_blank --vm-grace=0:03)
	await_domain "$job" running
	start=$EPOCHSECONDS
	cancel "$job"
	assert_end "$job" CANCELLED 0:0
	[ $((EPOCHSECONDS - start)) -ge 3 ] || fail "it had no grace: over after $((EPOCHSECONDS - start)) s"
	assert_output "$job" "grace"
	assert_nothing_left "$(host_of "$job")" "$job"
}

@test "scancel of a suspended guest ends it" {
	local job host
	job=$(submit_blank)
	await_domain "$job" running
	host=$(host_of "$job")
	on ctl scontrol suspend "$job"
	await_domain "$job" paused "$host"
	cancel "$job"
	assert_end "$job" CANCELLED 0:0
	assert_nothing_left "$host" "$job"
}

@test "requeue ends the guest, and a new one starts" {
	local job first
	job=$(submit_blank --requeue --vm-grace=0:01)
	await_domain "$job" running
	first=$(host_of "$job")
	on ctl scontrol requeue "$job"
	await_state "$job" PENDING
	assert_nothing_left "$first" "$job"
	await_domain "$job" running
	assert_equal Restarts "$(job_value "$job" Restarts)" 1
	assert_equal "the guest's restart count" "$(shown "$job" .restart)" 1
}

@test "a held job has no guest; requeuehold ends one and holds the job" {
	local job host
	job=$(submit_blank --hold --vm-grace=0:01)
	assert_equal state "$(job_value "$job" JobState)" PENDING
	on ctl scontrol release "$job"
	await_domain "$job" running
	host=$(host_of "$job")
	on ctl scontrol requeuehold "$job"
	await_state "$job" PENDING
	assert_equal priority "$(job_value "$job" Priority)" 0
	assert_nothing_left "$host" "$job"
}

@test "a guest beyond its job's memory ends it as OUT_OF_MEMORY" {
	local job
	job=$(kept eats)
	await_guest "$job"
	# What Slurm gives is enough by design: leave it 8 MiB more than is in use, and let the guest use more.
	there "$(host_of "$job")" squeeze_job "$job" 8
	from_guest "$job" 'dd if=/dev/zero of=/tmp/eaten bs=1M count=96'
	assert_end "$job" OUT_OF_MEMORY 0:125
	assert_nothing_left "$(host_of "$job")" "$job"
}

@test "each task of a job array is a guest of its own" {
	local array task job jobs
	array=$(submit_blank --array=0-2)
	await "$(scaled 30)" array_runs "$array" 3 >/dev/null || fail "not all tasks run"
	mapfile -t jobs < <(on ctl squeue -h -r -j "$array" -o %A)
	for job in "${jobs[@]}"; do
		await_domain "$job" running
	done
	for task in 0 1 2; do
		on_as alice ctl vmjob stop --force "${array}_$task"
	done
	for job in "${jobs[@]}"; do
		assert_end "$job" FAILED 72:0
		assert_nothing_left "$(host_of "$job")" "$job"
	done
}

array_runs()
{
	[ "$(on ctl squeue -h -r -j "$1" -t RUNNING -o %A | wc -l)" = "$2" ]
}

@test "a job of two nodes has a guest on each, and they end together" {
	local job nodes
	job=$(submit_blank --nodes=2 --ntasks-per-node=1 --vm-grace=0:01)
	await_state "$job" RUNNING
	mapfile -t nodes < <(on ctl scontrol show hostnames "$(host_of "$job")")
	assert_equal "number of nodes" ${#nodes[@]} 2
	await_domain "$job" running "${nodes[0]}"
	await_domain "$job" running "${nodes[1]}"
	cancel "$job"
	assert_end "$job" CANCELLED 0:0
	assert_nothing_left "${nodes[0]}" "$job"
	assert_nothing_left "${nodes[1]}" "$job"
}

@test "salloc and srun: the first step is the guest, others run beside it on the host" {
	local job allocation
	on_as alice ctl salloc --quiet --job-name=interactive --vm-image=blank --vm-memory=32M --vm-script=none --vm-grace=0:01 \
		srun true &
	allocation=$!
	await "$(scaled 20)" job_named interactive >/dev/null || fail "salloc got no allocation"
	job=$(job_named interactive)
	echo "$job" >>"$BATS_TEST_TMPDIR/jobs"
	await_domain "$job" running
	assert_equal "host name seen by a second step" "$(on_as alice ctl srun --quiet --jobid="$job" --overlap hostname)" "$(host_of "$job")"
	on "$(host_of "$job")" kill -9 "$(qemu_pid "$job")"
	wait "$allocation" && fail "srun did not report the end of its guest"
	assert_end "$job" FAILED 71:0
	assert_nothing_left "$(host_of "$job")" "$job"
}

job_named()
{
	local found
	found=$(on ctl squeue -h -t RUNNING -n "$1" -o %A) && [ -n "$found" ] && echo "$found"
}

@test "a script on the host gives the job its exit code and ends the guest" {
	local job
	job=$(submit_blank --vm-script=host --vm-grace=0:01 --wrap='echo script ran; exit 7')
	assert_end "$job" FAILED 7:0
	assert_output "$job" "script ran"
	assert_nothing_left "$(host_of "$job")" "$job"
}

@test "the power goes at a host and comes back: one job is requeued, the other fails, nothing is left" {
	local again fails host
	again=$(submit_blank --requeue)
	await_domain "$again" running
	host=$(host_of "$again")
	fails=$(submit_blank --no-requeue --nodelist="$host")
	await_domain "$fails" running
	bed power-cut "$host"
	bed power-on "$host"
	assert_end "$fails" NODE_FAIL 1:0 90
	await_state "$again" 'PENDING|RUNNING'
	assert_equal Restarts "$(job_value "$again" Restarts)" 1
	await_domain "$again" running
	mend_node "$host"
	assert_nothing_left "$host" "$fails"
}

@test "--signal=B:USR1 shuts the guest down in order before the time limit" {
	local job
	[ -z "${VMJOB_ONE_BY_ONE-}" ] || limit_kept warned 2
	job=$(kept warned)
	assert_end "$job" COMPLETED 0:0 150
	assert_output "$job" "powered off"
	assert_nothing_left "$(host_of "$job")" "$job"
}

@test "the time limit shuts the guest down" {
	local job
	[ -z "${VMJOB_ONE_BY_ONE-}" ] || limit_kept limited 1
	job=$(kept limited)
	assert_end "$job" TIMEOUT 0:0 150
	assert_output "$job" "powered off"
	assert_nothing_left "$(host_of "$job")" "$job"
}
