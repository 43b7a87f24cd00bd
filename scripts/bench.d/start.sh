# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154 # sourced by scripts/bench
# A guest's way from sbatch to its first instruction, alone and among many, against plain Slurm and plain libvirt.

hosts=8
guests=40
samples=10
share=$((guests / hosts))

# python HOST FILE [ARG...]: a program of bench.d on a host, with twin.py before it.
python()
{
	on "$1" python3 -c "$(cat "$benches/twin.py" "$benches/$2")" "${@:3}"
}

# on_each FILE [ARG...]: the same on all compute hosts at once; fails if one fails.
on_each()
{
	local node pid pids=()
	for node in "${nodes[@]}"; do
		python "$node" "$@" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
}

# ratio A B: with three decimals.
ratio()
{
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'
}

one_guest()
{
	local guest job create
	read -r guest job create < <(python "${nodes[0]}" start_one.py "$samples")
	echo "start.guest: $guest ms (sbatch to the guest's first instruction, median of $samples)"
	echo "start.job: $job ms (sbatch to the first command of an ordinary job, median of $samples)"
	echo "start.create: $create ms (virsh create of the same domain, median of $samples)"
	echo "start.ratio: $(ratio "$guest" $((job + create))) (guest / (job + create); goal: at most 1.15)"
}

# Seconds from a common start until the last of many twins is there, created with virsh alone.
many_twins()
{
	local start
	on_each start_many.py make "$share" >/dev/null
	start=$((EPOCHSECONDS + 5))
	on_each start_many.py create "$share" "$start" | sort -n | tail -n 1 | awk -v start="$start" '{ print $1 - start }'
	on_each start_many.py destroy "$share"
}

many_guests()
{
	local seconds twins
	seconds=$(python ctl start_guests.py "$guests")
	twins=$(many_twins)
	on ctl scancel --user=alice
	echo "start.guests_per_s: $(ratio "$guests" "$seconds") 1/s ($guests guests over $hosts hosts, one sbatch)"
	echo "start.creates_per_s: $(ratio "$guests" "$twins") 1/s ($guests times virsh create --paused over $hosts hosts, in parallel)"
	echo "start.guests_per_s_ratio: $(ratio "$twins" "$seconds") (guests_per_s / creates_per_s)"
}

start_bed $hosts
mapfile -t nodes < <(on ctl sinfo -h -N -o %N | sort -u)
one_guest
many_guests
