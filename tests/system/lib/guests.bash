# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Guests: the real world behind a job, on the host that runs it.

# await_guest JOB [SECONDS]: until its operating system is up (its agent answers).
await_guest()
{
	local seen host
	await_state "$1" RUNNING
	host=$(host_of "$1")
	seen=$(there "$host" await "$(scaled "${2:-60}")" guest_answers "vmjob-$1") ||
		fail "the guest of job $1 does not answer within $(scaled "${2:-60}") s: $seen"
}

# in_guest JOB COMMAND: runs a shell command in the guest.
in_guest()
{
	there "$(host_of "$1")" guest_run "vmjob-$1" "$2"
}

# from_guest JOB COMMAND: the same for one after which the guest is gone.
from_guest()
{
	there "$(host_of "$1")" guest_start "vmjob-$1" "$2" >/dev/null
}

boot_id()
{
	in_guest "$1" 'cat /proc/sys/kernel/random/boot_id'
}

# domain_is JOB HOST STATE: prints libvirt's word for the domain's state; succeeds if it is this.
domain_is()
{
	local state
	state=$(on "$2" virsh -q -c qemu:///system domstate "vmjob-$1" 2>&1) || state="none: $state"
	echo "$state"
	[ "$state" = "$3" ]
}

# await_domain JOB STATE [HOST]
await_domain()
{
	local seen host=${3:-}
	[ -n "$host" ] || { await_state "$1" RUNNING && host=$(host_of "$1"); }
	seen=$(await "$(scaled 30)" domain_is "$1" "$host" "$2") || fail "domain of job $1 on $host is not $2 but $seen"
}

qemu_pid()
{
	there "$(host_of "$1")" qemu_pids "vmjob-$1,"
}

# shown JOB JQ-PATH: what the owner reads of the job's (first) guest in `vmjob show --json`.
shown()
{
	on_as "$(there ctl job_row "$1" %u)" ctl vmjob show --json "$1" | on ctl jq -r ".guests[0]$2"
}

# assert_nothing_left HOST [JOB]: nothing of the job (of any) is left on the host.
assert_nothing_left()
{
	local found
	found=$(there "$1" await "$(scaled 5)" nothing_left ${2:+"$2"}) || fail "left on $1 of ${2:-all jobs}: $found"
}
