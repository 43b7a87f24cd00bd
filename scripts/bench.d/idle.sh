# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154 # sourced by scripts/bench
# What the agent costs its host while its guests just run.

seconds=30

# agent_cost PID: "PERCENT-OF-A-CORE MIB", over $seconds.
agent_cost()
{
	# shellcheck disable=SC2016 # for the shell over there
	on n1 bash -c 'ticks() { cut -d")" -f2 "/proc/$1/stat" | awk "{ print \$12 + \$13 }"; }
		before=$(ticks "$1"); sleep "$2"; after=$(ticks "$1")
		awk -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" -v s="$2" "/^VmRSS/ { printf \"%.2f %.1f\n\", t / hz / s * 100, \$2 / 1024 }" \
			"/proc/$1/status"' _ "$1" "$seconds"
}

# Adds guests until there are $1 and their start is over.
fill_up()
{
	local running
	running=$(on ctl squeue -h -r -t RUNNING -o %A | wc -l)
	[ "$running" -ge "$1" ] || bed run -u alice ctl -- sbatch --chdir=/tmp --output=/dev/null --nodelist=n1 \
		--array=1-$(($1 - running)) --vm-image=blank --vm-memory=16M --vm-script=none --vm-grace=0:01 --wrap=true >/dev/null
	until [ "$(on n1 virsh -q -c qemu:///system list --state-running --name | grep -c .)" -ge "$1" ]; do
		sleep 0.5
	done
}

# Room for 50 guests on one host, as Slurm counts.
export BED_CPUS=64 BED_MEMORY=16000
start_bed 1
agent=$(on n1 pgrep -x vmjobd)
for count in 0 10 50; do
	fill_up "$count"
	read -r percent mib < <(agent_cost "$agent")
	echo "idle.cpu_percent.$count: $percent % (of a core, over $seconds s$([ "$count" != 10 ] || echo "; goal: under 0.5"))"
	echo "idle.rss_mb.$count: $mib MiB (resident$([ "$count" != 10 ] || echo "; goal: under 20"))"
done
on ctl scancel --user=alice
