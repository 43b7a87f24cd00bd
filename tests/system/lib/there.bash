# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Functions that run inside a host of the bed (see `there` in bed.bash) as well as in the tests themselves.

# await SECONDS COMMAND...: runs the command until it succeeds, for so long at most; what it printed last is
# printed. For things of which nobody tells when they are there.
await()
{
	local deadline=$((${EPOCHREALTIME/./} + $1 * 1000000)) out
	shift
	until out=$("$@" 2>&1); do
		if ((${EPOCHREALTIME/./} > deadline)); then
			printf '%s\n' "$out"
			return 1
		fi
		sleep 0.15
	done
	printf '%s\n' "$out"
}

# job_row JOB FORMAT: of squeue. Asked for the job's own number: a task of an array may have that of the array.
job_row()
{
	squeue -h -r -t all -j "$1" -o "%A $2" 2>&1 | sed -n "s/^$1 //p"
}

# job_is JOB STATE[|STATE...]: prints the job's state in squeue; succeeds if it is one of these.
job_is()
{
	local state
	state=$(job_row "$1" %T)
	echo "$state"
	[[ "|$2|" == *"|$state|"* ]]
}

# Succeeds once Slurm has nothing left to do for the job (its epilogs are done too).
job_is_over()
{
	case $(job_is "$1" '' || :) in
	PENDING | RUNNING | SUSPENDED | COMPLETING | CONFIGURING | REQUEUED | RESIZING) return 1 ;;
	esac
}

# sacct_end JOB: prints the job's "STATE|EXITCODE" once sacct has it as ended; the state without "by UID".
sacct_end()
{
	local line
	job_is_over "$1" || return 1
	line=$(sacct -X -n -P -j "$1" -o jobidraw,state,exitcode | sed -n "s/^$1|//p")
	case $line in
	'' | PENDING* | RUNNING* | SUSPENDED* | REQUEUED* | RESIZING*) return 1 ;;
	esac
	sed 's/ by [0-9]*|/|/' <<<"$line"
}

# sacct_ends_as JOB "STATE|EXITCODE": prints what sacct has; succeeds if it is this.
sacct_ends_as()
{
	local seen
	seen=$(sacct_end "$1") || return 1
	echo "$seen"
	[ "$seen" = "$2" ]
}

# qga DOMAIN JSON: asks the guest agent; prints the answer.
qga()
{
	timeout 10 virsh -q -c qemu:///system qemu-agent-command --timeout 5 "$1" "$2"
}

guest_answers()
{
	qga "$1" '{"execute":"guest-ping"}'
}

# guest_run DOMAIN COMMAND: runs a shell command inside the guest, prints its output, returns its exit code.
guest_run()
{
	local request pid answer
	request=$(jq -cn --arg c "$2" '{execute: "guest-exec",
		arguments: {path: "/bin/sh", arg: ["-c", $c], "capture-output": true}}')
	pid=$(qga "$1" "$request" | jq .return.pid) || return 125
	until answer=$(qga "$1" "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}") &&
		[ "$(jq .return.exited <<<"$answer")" = true ]; do
		[ -n "$answer" ] || return 125
		sleep 0.05
	done
	jq -r '.return["out-data"] // ""' <<<"$answer" | base64 -d
	jq -r '.return["err-data"] // ""' <<<"$answer" | base64 -d >&2
	return "$(jq '.return.exitcode // 128' <<<"$answer")"
}

# guest_start DOMAIN COMMAND: the same for commands that the guest does not outlive: nothing is awaited, and the
# agent may be gone before it can answer.
guest_start()
{
	local said
	said=$(qga "$1" "$(jq -cn --arg c "$2" '{execute: "guest-exec", arguments: {path: "/bin/sh", arg: ["-c", $c]}}')" 2>&1) ||
		[[ $said == *disappeared* ]] || { echo "$said" >&2; return 1; }
}

# Process ids of the QEMUs of this host that run DOMAIN (all without it).
qemu_pids()
{
	local pid
	for pid in $(pgrep -x 'qemu-system-.*' || pgrep qemu-system); do
		tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "^guest=${1:-vmjob-}" && echo "$pid"
	done
	return 0
}

# squeeze_job JOB MIB: shrinks the memory limit of the job's batch step to what it has in use and so much more.
squeeze_job()
{
	local dir found=1
	while read -r dir; do
		if [ -e "$dir/memory.limit_in_bytes" ]; then
			echo $(($(<"$dir/memory.usage_in_bytes") + ($2 << 20))) >"$dir/memory.limit_in_bytes" && found=0
		elif [ -e "$dir/memory.max" ]; then
			echo $(($(<"$dir/memory.current") + ($2 << 20))) >"$dir/memory.max" && found=0
		fi
	done < <(find /sys/fs/cgroup -type d -path '*slurm*' -path "*/job_$1/step_batch")
	return $found
}

# cpus_within LISTS ALLOWED: is each CPU of these lists ("0-3,8", a line each) among the allowed ones?
cpus_within()
{
	local cpu allowed
	allowed=$(list_cpus <<<"$2")
	for cpu in $(list_cpus <<<"$1"); do
		grep -qx "$cpu" <<<"$allowed" || return 1
	done
}

list_cpus()
{
	tr ',' '\n' | awk -F- 'NF { for (i = $1; i <= $NF; i++) print i }'
}

# start_watching FILTER: from now on the frames that arrive at this host and pass the filter are noted;
# stop_watching prints them.
start_watching()
{
	tcpdump -Q in -i eth0 -n -e -l -Z root "$1" >/run/watched 2>/run/watched.err </dev/null &
	echo $! >/run/watched.pid
	await 10 grep -q listening /run/watched.err
}

stop_watching()
{
	kill -INT "$(</run/watched.pid)"
	await 10 grep -q 'packets received' /run/watched.err >/dev/null
	cat /run/watched
}

# leftovers [JOB]: names everything of the job (of any) that is still on this host; nothing is as it should be.
leftovers()
{
	local job=${1:-} name
	virsh -q -c qemu:///system list --all --name | grep "^vmjob-${job:-}${job:+\$}" | sed 's/^/domain /'
	for name in $(qemu_pids ${job:+"vmjob-$job,"}); do echo "QEMU with pid $name"; done
	for name in /sys/class/net/vj"${job:-}"${job:+.}*; do [ ! -e "$name" ] || echo "tap ${name##*/}"; done
	for name in /var/lib/vmjob/guests/${job:-*}; do [ ! -e "$name" ] || echo "files in $name"; done
	nft list ruleset 2>/dev/null | grep -w "vj${job:-[0-9]*}\.[0-9]*" | sed 's/^[[:space:]]*/filter rule /'
	find /sys/fs/cgroup -type d -name "job_${job:-*}" -path '*slurm*' 2>/dev/null | sed 's/^/cgroup /'
	find /sys/fs/cgroup -type d -path '*machine*vmjob*' 2>/dev/null | sed 's/^/cgroup /'
	return 0
}

nothing_left()
{
	local found
	found=$(leftovers "$@")
	echo "$found"
	[ -z "$found" ]
}

# qemu_writes DOMAIN VOLUME COMMAND: has QEMU itself write to a volume of a guest, as the guest would.
qemu_writes()
{
	virsh -q -c qemu:///system qemu-monitor-command "$1" --hmp "qemu-io -d $(disk_of "$1" "$2" .qdev) \"$3\"" >/dev/null
}

# qemu_holds DOMAIN VOLUME NUMBER: is this the pattern in the first MiB, as QEMU has it?
qemu_holds()
{
	local text
	qemu_writes "$1" "$2" flush
	text=$(qemu-io -r -U -f qcow2 -c "read -P $3 0 1M" "$(disk_of "$1" "$2" .inserted.file)" 2>&1)
	echo "$text"
	[[ $text != *"verification failed"* && $text == *"read 1048576/"* ]]
}

disk_of()
{
	virsh -q -c qemu:///system qemu-monitor-command "$1" '{"execute":"query-block"}' |
		jq -r --arg volume "/$2/" ".return[] | select(.inserted.file // \"\" | contains(\$volume)) | $3"
}

# What no image, volume or snapshot can be called.
no_names=('' . .. .hidden a/b ../x /etc/passwd 'a b' $'a\nb' $'a\e[2J' $'\xff' "$(printf 'x%.0s' {1..300})")

# names_refused COMMAND...: with each of these in place of @ in its words, it fails with one printable sentence; says
# where it does not.
names_refused()
{
	local name text status found=0
	for name in "${no_names[@]}"; do
		status=0
		text=$("${@//@/"$name"}" 2>&1 </dev/null) || status=$?
		[ $status -gt 0 ] && [ $status -lt 126 ] && [ "$(wc -l <<<"$text")" = 1 ] && ! grep -q '[[:cntrl:]]' <<<"$text" && continue
		printf '%q ' "${@//@/"$name"}" "-> $status: $text"
		echo
		found=1
	done
	return $found
}
