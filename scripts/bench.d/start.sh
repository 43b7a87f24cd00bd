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
	local guest job create wait
	read -r guest job create wait < <(python "${nodes[0]}" start_one.py "$samples")
	guest=$((guest + wait)) job=$((job + wait))
	echo "start.guest: $guest ms (sbatch to the guest's first instruction, median of $samples)"
	echo "start.job: $job ms (sbatch to the first command of an ordinary job, median of $samples)"
	echo "start.create: $create ms (virsh create of the same domain, median of $samples)"
	echo "start.wait: $wait ms (of both, until Slurm's next round of scheduling; median of all)"
	echo "start.ratio: $(ratio "$guest" $((job + create))) ratio (guest / (job + create); goal: at most 1.15)"
}

# seconds_from BEGIN: until the latest of the times on standard input.
seconds_from()
{
	sort -n | tail -n 1 | awk -v begin="$1" '{ print $1 - begin }'
}

# Guests of one sbatch, the same number on each host; prints the seconds until the last of them goes.
many_guests()
{
	local begin memory
	memory=$(on ctl sinfo -h -o %m | head -n 1)
	begin=$(python ctl start_guests.py "$guests" --mem="$((memory / share - 1))")
	on_each start_many.py started "$share" | seconds_from "$begin"
}

# The same number of twins on each host, by virsh alone; prints the seconds until the last of them is there.
many_twins()
{
	local begin
	on_each start_many.py make "$share" >&2
	begin=$((EPOCHSECONDS + 5))
	on_each start_many.py create "$share" "$begin" | seconds_from "$begin"
	on_each start_many.py destroy "$share" >&2
}

compare_many()
{
	local seconds twins
	seconds=$(many_guests)
	twins=$(many_twins)
	on ctl scancel --user=alice
	echo "start.guests_per_s: $(ratio "$guests" "$seconds") 1/s ($guests guests over $hosts hosts, one sbatch)"
	echo "start.creates_per_s: $(ratio "$guests" "$twins") 1/s ($guests times virsh create --paused over $hosts hosts, all at once)"
	echo "start.guests_per_s_ratio: $(ratio "$twins" "$seconds") ratio (guests_per_s / creates_per_s)"
}

start_bed $hosts
mapfile -t nodes < <(on ctl sinfo -h -N -o %N | sort -u)
one_guest
compare_many
