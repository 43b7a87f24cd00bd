# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154 # sourced by scripts/bench
# Clones against `qemu-img create -b`, imports against `qemu-img convert`, a long list of volumes, and what a thousand
# leases cost to keep.

samples=15
many=1000
seconds=60

# ratio A B: with three decimals.
ratio()
{
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'
}

# A disk of $1 GiB that holds 256 MiB, as the volume clone-$1 and as a file for qemu-img beside it.
make_source()
{
	# shellcheck disable=SC2016 # for the shell over there
	on n1 bash -c 'qemu-img create -q -f qcow2 "/srv/vmjob/source-$1.qcow2" "$1G" &&
		qemu-io -f qcow2 -c "write -P 7 0 256M" "/srv/vmjob/source-$1.qcow2" &&
		vmjob image import "/srv/vmjob/source-$1.qcow2" --name "source-$1" --public' _ "$1" >/dev/null
	bed run -u alice n1 -- vmjob volume create "clone-$1" --image="source-$1" >/dev/null
}

clones()
{
	local clone create large
	make_source 10
	make_source 100
	read -r clone create < <(there n1 storage_clone.py 10 "$samples")
	read -r large _ < <(there n1 storage_clone.py 100 "$samples")
	echo "storage.clone: $clone ms (vmjob volume clone of a volume of 10 GiB, median of $samples)"
	echo "storage.create: $create ms (qemu-img create -b of the same, median of $samples)"
	echo "storage.clone_ratio: $(ratio "$clone" "$create") ratio (clone / create; goal: at most 1.5)"
	echo "storage.clone_size_ratio: $(ratio "$large" "$clone") ratio (clone of 100 GiB / of 10 GiB; goal: constant)"
}

imports()
{
	local import convert
	read -r import convert < <(there n1 storage_import.py 5)
	echo "storage.import: $import s (vmjob image import of 1 GiB of data in 10 GiB, raw, median of 5)"
	echo "storage.convert: $convert s (qemu-img convert of the same, synced, median of 5)"
	echo "storage.import_ratio: $(ratio "$import" "$convert") ratio (import / convert; goal: at most 1.11)"
}

# volumes ARG...: storage_volumes.py on a host.
volumes()
{
	on n1 python3 -c "$(cat "$top/scripts/agent_client.py" "$benches/storage_volumes.py")" "$@"
}

lists()
{
	volumes make "$many" >&2
	echo "storage.list: $(volumes list "$samples") ms (vmjob volume list of $many volumes, median of $samples; goal: under 100)"
}

# The agent's share of a core while the domain has this host's leases of as many guests. It is not started anew, for then
# it would give them all back: there are no such guests.
leases()
{
	local agent
	volumes lease "$many" >&2
	agent=$(on n1 pgrep -x vmjobd)
	# shellcheck disable=SC2016 # for the shell over there
	echo "storage.renew_percent: $(on n1 bash -c 'ticks() { cut -d")" -f2 "/proc/$1/stat" | awk "{ print \$12 + \$13 }"; }
		sleep 5; before=$(ticks "$1"); sleep "$2"
		awk -v t=$(($(ticks "$1") - before)) -v hz="$(getconf CLK_TCK)" -v s="$2" "BEGIN { printf \"%.2f\", t / hz / s * 100 }"' \
		_ "$agent" "$seconds") % (of a core, $many leases held, over $seconds s; goal: under 1)"
}

start_bed 1
clones
imports
lists
leases
