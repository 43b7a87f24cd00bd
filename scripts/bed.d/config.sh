# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The configuration of the bed's hosts: what all share in $state/etc, and each host's own.

# True when the bed's vmjob tree has the file.
tree_has()
{
	[ -e "$state/tree" ] && [ -e "$(<"$state/tree")/$1" ]
}

config_write()
{
	local etc=$state/etc host
	mkdir -p "$etc"/{slurm,munge}
	{
		echo "127.0.0.1 localhost"
		for host in $(state_hosts); do echo "$(host_address "$host") $host"; done
	} >"$etc/hosts"
	(umask 077 && head -c 128 /dev/urandom >"$etc/munge/munge.key")
	config_slurm >"$etc/slurm/slurm.conf"
	config_slurm_cgroup >"$etc/slurm/cgroup.conf"
	config_vmjob >"$etc/slurm/vmjob.conf"
	! tree_has usr/lib/vmjob/slurm/spank_vmjob.so ||
		echo "required /usr/lib/vmjob/slurm/spank_vmjob.so" >"$etc/slurm/plugstack.conf"
}

config_slurm()
{
	cat <<EOF
ClusterName=vmjob
SlurmctldHost=ctl
SlurmUser=slurm
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
LogTimeFormat=iso8601_ms
MailProg=/bin/true
MpiDefault=none
RebootProgram=/run/bed/reboot
PluginDir=/usr/lib/x86_64-linux-gnu/slurm-wlm:/usr/lib/vmjob/slurm

ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup,task/affinity
PrologFlags=Alloc,Contain
JobAcctGatherType=jobacct_gather/cgroup
JobAcctGatherFrequency=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=ctl
AccountingStoreFlags=job_comment

SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SchedulerParameters=nohold_on_prolog_fail,batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
JobRequeue=1
ReturnToService=2

InactiveLimit=0
MinJobAge=300

# More on a slow machine (VMJOB_TIMEOUT_SCALE); Slurm advises against a MessageTimeout above 100.
AuthInfo=cred_expire=$((5 * time_scale))
SlurmdTimeout=$((10 * time_scale))
KillWait=$((15 * time_scale))
SlurmctldTimeout=$((10 * time_scale))
BatchStartTimeout=$((10 * time_scale))
TCPTimeout=$((2 * time_scale))
MessageTimeout=$((time_scale < 10 ? 10 * time_scale : 100))
EOF
	! tree_has usr/lib/vmjob/slurm/job_submit_vmjob.so || echo "JobSubmitPlugins=vmjob"
	! tree_has usr/libexec/vmjob/vmjob-prolog || echo "Prolog=/usr/libexec/vmjob/vmjob-prolog"
	! tree_has usr/libexec/vmjob/vmjob-epilog || echo "Epilog=/usr/libexec/vmjob/vmjob-epilog"
	echo "NodeName=n[1-$(state_hosts | grep -c '^n')] CPUs=${BED_CPUS:-8} RealMemory=${BED_MEMORY:-8000} State=UNKNOWN"
	echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP"
}

config_slurm_cgroup()
{
	echo "CgroupPlugin=cgroup/v$(cgroup_version)"
	[ "$(cgroup_version)" = 1 ] || printf '%s\n' "IgnoreSystemd=yes" "CgroupMountpoint=/run/bed/cgroup"
	cat <<'EOF'
ConstrainCores=yes
ConstrainRAMSpace=yes
ConstrainDevices=yes
EOF
}

# The default domain is on the machine's own disk, which may be rather full. No comments in the file itself: libconfuse
# counts their lines twice, and a test looks at the numbers.
config_vmjob()
{
	cat <<'EOF'
storage default {
	path = "/srv/vmjob"
	low = 1
}

storage small {
	path = "/srv/vmjob-small"
}

network lan {
	kind = bridge
	bridge = br0
	subnet = "10.77.0.0/16"
	pool = "10.77.128.1-10.77.255.254"
}

network user {
	kind = user
}

defaults {
	network = "lan"
	grace = 10s
}

limits {
	memory = 6G
	disk = 100G
}

agent {
	operators = {"slurm", "carol"}
}
EOF
}

# Writes a new host's configuration to its disk, whose root is DIR.
config_install()
{
	local host=$1 etc=$2/etc
	mkdir -p "$etc"
	cp -a "$state/etc/." "$etc"
	chown -R --reference="$(<"$state/buildroot")/etc/munge" "$etc/munge"
	chmod 700 "$etc/munge"
	echo "$host" >"$etc/hostname"
	tr -d - </proc/sys/kernel/random/uuid >"$etc/machine-id"
	[ "$host" = ctl ] || config_libvirt "$host" "$etc/libvirt"
}

config_libvirt()
{
	local host=$1 dir=$2
	mkdir -p "$dir"
	cat >"$dir/libvirtd.conf" <<EOF
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
host_uuid = "$(</proc/sys/kernel/random/uuid)"
EOF
	{
		cat "$top/scripts/libvirt/qemu.conf"
		echo "migration_host = \"$(host_address "$host")\""
	} >"$dir/qemu.conf"
	cat >"$dir/qemu-lockd.conf" <<'EOF'
auto_disk_leases = 1
file_lockspace_dir = "/srv/vmjob-lockd"
EOF
}
