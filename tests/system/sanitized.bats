# SPDX-License-Identifier: GPL-2.0-or-later
# vmjobd built with AddressSanitizer and UBSan (build-san/, by `scripts/check san`) serves a guest's whole life.
load lib

reports=/var/log/vmjobd-sanitizer
agent=$build-san/vmjob/agent/vmjobd

setup()
{
	[ -x "$agent" ] || skip "build-san/ has no vmjobd: run scripts/check san first"
	test_began=$(date +%FT%T)
}

setup_file()
{
	local host
	[ -x "$agent" ] || return 0
	host=$(hosts | tail -n 1)
	keep host "$host"
	stop_daemon "$host" vmjobd
	on "$host" mv /usr/sbin/vmjobd /usr/sbin/vmjobd.plain
	on "$host" sh -c 'cat >/usr/sbin/vmjobd && chmod 755 /usr/sbin/vmjobd' <"$agent"
	on "$host" sh -c 'printf "ASAN_OPTIONS=log_path=%s:exitcode=86\nUBSAN_OPTIONS=log_path=%s:print_stacktrace=1\n" "$1" "$1" \
		>/etc/default/vmjobd' _ "$reports"
	start_daemon "$host" vmjobd
}

teardown_file()
{
	local host
	[ -x "$agent" ] || return 0
	host=$(kept host)
	stop_daemon "$host" vmjobd
	on "$host" mv /usr/sbin/vmjobd.plain /usr/sbin/vmjobd
	on "$host" rm -f /etc/default/vmjobd
	start_daemon "$host" vmjobd
}

@test "a guest's life under a sanitized vmjobd: run, shown, paused, reset, stopped, released" {
	local job host
	host=$(kept host)
	job=$(submit_blank --vm-grace=0:01 --nodelist="$host" --vm-disk=size=8M)
	await_domain "$job" running
	on_as alice ctl vmjob show "$job"
	on_as alice ctl vmjob list
	on ctl vmjob host
	on ctl scontrol suspend "$job"
	await_domain "$job" paused "$host"
	on ctl scontrol resume "$job"
	await_domain "$job" running "$host"
	on_as alice ctl vmjob reset "$job"
	on_as alice ctl vmjob events "$job"
	cancel "$job"
	assert_end "$job" CANCELLED 0:0
	assert_nothing_left "$host" "$job"
}

@test "a refused request and garbage under a sanitized vmjobd" {
	local job host
	host=$(kept host)
	job=$(submit_blank --nodelist="$host" --vm-cpu=NoSuchModel)
	assert_end "$job" FAILED 1:0
	on "$host" sh -c 'head -c 65536 /dev/urandom | socat -u - UNIX-CONNECT:/run/vmjob/agent.sock' || :
	on "$host" vmjob host >/dev/null
}

@test "the sanitized vmjobd ends in order and has nothing to report" {
	local host
	host=$(kept host)
	stop_daemon "$host" vmjobd
	start_daemon "$host" vmjobd
	on "$host" sh -c 'cat "$1".* 2>/dev/null; ! ls "$1".* >/dev/null 2>&1' _ "$reports"
	on "$host" sh -c '! grep "ended with status 86" /var/log/bed/vmjobd.log'
}
