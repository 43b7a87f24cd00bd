# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The daemons of a host, kept as systemd keeps a service with Restart=on-failure: one that ends by a signal or with
# a status but 0 is started again. Each has run_NAME, which becomes it, and ready_NAME, true once it can be used.
# In /run/bed: NAME.pid, NAME.ctl (a fifo that tells a stopped one to start), NAME.stop while it is to stay stopped;
# what it prints goes to /var/log/bed/NAME.log.

# Everything is waited for this many times as long.
time_scale=$(</run/bed/time-scale)

# Restarts wait this long, in seconds (systemd's own default).
restart_delay=0.1

exec {nap_fd}<> <(:)
nap()
{
	read -rt "$1" -u "$nap_fd" || :
}

prepare_directories()
{
	mkdir -p /run/lock /run/libvirt /run/slurm /run/vmjob /var/lib/vmjob /var/log/bed /var/log/slurm /var/spool/slurmd /var/spool/slurmctld
	install -d -o munge -g munge /run/munge /var/lib/munge /var/log/munge
	install -d -o mysql -g mysql /run/mysqld
	chmod 751 /var/lib/libvirt/qemu
	chown slurm:slurm /var/log/slurm /var/spool/slurmctld
}

# True when something listens on TCP port $1, given as four hexadecimal digits.
listens()
{
	local _number local_address _remote socket_state _rest
	while read -r _number local_address _remote socket_state _rest; do
		[ "${local_address##*:} $socket_state" != "$1 0A" ] || return 0
	done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
	return 1
}

run_munged() { exec setpriv --reuid munge --regid munge --clear-groups munged -F; }
ready_munged() { [ -S /run/munge/munge.socket.2 ]; }

run_mariadbd() { exec mariadbd --user=mysql --skip-log-error; }
ready_mariadbd() { [ -S /run/mysqld/mysqld.sock ]; }

run_slurmdbd() { exec slurmdbd -D; }
ready_slurmdbd() { listens 1AA3; }

run_slurmctld() { exec slurmctld -D; }
ready_slurmctld() { listens 1AA1; }

run_slurmd() { exec slurmd -D; }
ready_slurmd() { listens 1AA2; }

run_virtlogd() { exec virtlogd; }
ready_virtlogd() { [ -S /run/libvirt/virtlogd-sock ]; }

run_virtlockd() { exec virtlockd; }
ready_virtlockd() { [ -S /run/libvirt/virtlockd-sock ]; }

run_libvirtd() { exec libvirtd --listen; }
ready_libvirtd() { [ -S /run/libvirt/libvirt-sock ]; }

# serve_storage WHAT PATH: shared storage as a cluster file system is seen: a mount of this host's own that locks do not
# cross, and that libvirt takes for one it may migrate on. Attributes are not cached, so that hosts see each other's writes.
serve_storage()
{
	while findmnt -t fuse.glusterfs "$2" >/dev/null; do umount -l "$2"; done
	exec bindfs -f -o subtype=glusterfs,allow_other,attr_timeout=0,entry_timeout=0,negative_timeout=0 "$1" "$2"
}
storage_is_served() { [ "$(stat -f -c %T "$1" 2>/dev/null)" = fuseblk ]; }

run_storage() { serve_storage /run/bed/shared /srv/vmjob; }
ready_storage() { storage_is_served /srv/vmjob; }

run_small() { serve_storage /run/bed/shared-small /srv/vmjob-small; }
ready_small() { storage_is_served /srv/vmjob-small; }

# The controller makes the storage domains when the bed starts.
ready_domains() { [ -e /srv/vmjob/vmjob-domain.json ] && [ -e /srv/vmjob-small/vmjob-domain.json ]; }

# vmjobd says that it is ready as it would to systemd.
run_vmjobd()
{
	rm -f /run/bed/vmjobd.ready /run/bed/vmjobd.notify
	socat -u UNIX-RECVFROM:/run/bed/vmjobd.notify,fork OPEN:/run/bed/vmjobd.ready,creat,append &
	until [ -S /run/bed/vmjobd.notify ]; do nap 0.01; done
	# What an administrator adds to its environment, as for a systemd unit.
	if [ -e /etc/default/vmjobd ]; then set -a; . /etc/default/vmjobd; set +a; fi
	NOTIFY_SOCKET=/run/bed/vmjobd.notify exec vmjobd
}
ready_vmjobd() { grep -qs READY=1 /run/bed/vmjobd.ready; }

# Keeps one daemon, for ever.
daemon_keep()
{
	local name=$1 rc _line
	exec 3>&- >>"/var/log/bed/$name.log" 2>&1 </dev/null
	trap - TERM INT
	while :; do
		rc=0
		("run_$name") &
		echo "$!" >"/run/bed/$name.pid"
		wait "$!" || rc=$?
		rm -f "/run/bed/$name.pid"
		echo "$(date +%FT%T.%3N) $name ended with status $rc"
		if [ "$rc" = 0 ] || [ -e "/run/bed/$name.stop" ]; then
			read -r _line <"/run/bed/$name.ctl"
			rm -f "/run/bed/$name.stop"
		else
			nap "$restart_delay"
		fi
	done
}

# Starts daemons; those that were stopped go on.
daemon_start()
{
	local name
	for name; do
		if [ -p "/run/bed/$name.ctl" ]; then
			[ -e "/run/bed/$name.pid" ] || echo start >"/run/bed/$name.ctl"
			continue
		fi
		mkfifo "/run/bed/$name.ctl"
		echo "$name" >>/run/bed/started
		(daemon_keep "$name") &
	done
}

# Waits until daemons can be used, up to 30 s (see time_scale).
daemon_ready()
{
	local name tries
	for name; do
		for ((tries = 0; tries < 1500 * time_scale; tries++)); do
			! "ready_$name" || continue 2
			nap 0.02
		done
		echo "$name is not ready after 30 s: $(tail -n 3 "/var/log/bed/$name.log")" >&2
		return 1
	done
}

# Ends a daemon in order (SIGTERM, after 10 s SIGKILL); it stays stopped.
daemon_stop()
{
	local pid tries
	read -r pid 2>/dev/null <"/run/bed/$1.pid" || return 0
	touch "/run/bed/$1.stop"
	kill "$pid" 2>/dev/null || :
	for ((tries = 0; tries < 500 * time_scale; tries++)); do
		[ -e "/run/bed/$1.pid" ] || return 0
		nap 0.02
	done
	kill -9 "$pid" 2>/dev/null || :
}
