# SPDX-License-Identifier: GPL-2.0-or-later
# Bad input: each piece is refused with one clear sentence and changes nothing.
load lib

setup_file()
{
	keep victim "$(submit_as bob "${blank_guest[@]}" --job-name=victim --vm-grace=0:01)"
	on ctl bash -c 'cat >/tmp/forge-submit && chmod +x /tmp/forge-submit' <"$build/tests/system/forge-submit"
	on_as bob ctl bash -c 'qemu-img create -q -f qcow2 ~/private.qcow2 16M &&
		vmjob image import ~/private.qcow2 --name private' >/dev/null
}

teardown_file()
{
	on_as bob ctl vmjob image rm private || :
	cancel_listed "$BATS_FILE_TMPDIR/jobs"
}

# assert_refused WORD COMMAND...: as alice; fails, with one printable sentence that has the word, and no job comes
# of it.
assert_refused()
{
	local word=$1 text status=0
	shift
	text=$(on_as alice ctl "$@" 2>&1) || status=$?
	[ $status != 0 ] || fail "accepted: $(printf ' %q' "$@"): $text"
	[ $status -lt 126 ] || fail "crashed with $status: $(printf ' %q' "$@"): $text"
	text=$(grep -v 'Batch job submission failed' <<<"$text") || fail "no sentence says why:$(printf ' %q' "$@")"
	[[ $text == *"$word"* ]] || fail "the refusal of$(printf ' %q' "$@") lacks '$word': $text"
	[ "$(wc -l <<<"$text")" = 1 ] || fail "the refusal of$(printf ' %q' "$@") is more than a sentence: $text"
	! grep -q '[[:cntrl:]]' <<<"$text" || fail "the refusal has control characters: $(printf %q "$text")"
}

# assert_option_refuses OPTION VALUE...
assert_option_refuses()
{
	local option=$1 value before
	shift
	before=$(last_job)
	for value; do
		assert_refused "${option#--}" sbatch "${blank_guest[@]}" "$option=$value"
	done
	assert_equal "the last job" "$(last_job)" "$before"
}

last_job()
{
	on ctl squeue -h -t all -r -o %A | sort -n | tail -n 1
}

# What no option takes: empty, metacharacters of shells, XML and paths, control characters, and far too much.
hostile=('' ' ' ';' '$(reboot)' '`reboot`' '<disk/>' '&amp;' "x'y" 'x"y' '../../etc/passwd' '/etc/passwd' $'a\nb' $'\e[2J' $'\x7f'
	$'\xff\xfe' '%s%n' '{"a":1}' "$(printf 'x%.0s' {1..300})")
# What no number is.
not_numbers=(nonsense -1 1.5.5 0x10 1e3 +1 99999999999999999999999 18446744073709551616)

@test "--vm-image refuses what is no image's name" {
	assert_option_refuses --vm-image "${hostile[@]}" 'blank@' 'blank@x' 'blank@-1' 'blank@99999999999999999999' '@1' . .. .hidden 'bob/' '/blank' 'a/b/blank' 'bob/blank@0' \
		'../blank' "$(printf 'x%.0s' {1..300})/blank"
}

@test "--vm-image of another user who has no such image is refused" {
	assert_refused vm-image sbatch "${blank_guest[@]}" --vm-image=carol/nosuchimage
}

@test "--vm-memory refuses what is no size" {
	assert_option_refuses --vm-memory "${hostile[@]}" "${not_numbers[@]}" 1X 1GG G 0 1K 9999999P
}

@test "--vm-disk refuses what is no disk" {
	assert_option_refuses --vm-disk "${hostile[@]}" size size= size=0 size=-1G size=9999999P size=1X nonsense=1 size=1G,size=2G size=1G,ro
}

@test "--vm-disk refuses what is no volume and no image" {
	local value values=()
	for value in "${hostile[@]}"; do
		values+=("volume=$value" "volume=$value:data" "image=$value,ro" "image=$value/blank,ro")
	done
	assert_option_refuses --vm-disk "${values[@]}" volume volume=:data volume=default: volume=a:b:c volume=data,rw volume=data, \
		volume=data,size=1G volume=bob/data volume=data@2 volume=nosuchstorage:data image=blank image=blank@0,ro image=nosuchimage,ro
}

@test "--vm-persistent refuses what is no volume" {
	assert_option_refuses --vm-persistent "${hostile[@]}" :web default: a:b:c web,ro web@2 bob/web nosuchstorage:web
}

@test "a volume twice, and one for several guests, is refused" {
	assert_refused twice sbatch "${blank_guest[@]}" --vm-disk=volume=data --vm-disk=volume=data,ro
	assert_refused twice sbatch "${blank_guest[@]}" --vm-disk=volume=data --vm-disk=volume=default:data
	assert_refused persistent sbatch "${blank_guest[@]}" --vm-disk=volume=web --vm-persistent=web
	assert_refused "2 guests" sbatch "${blank_guest[@]}" -N 2 --vm-persistent=web
	assert_refused "2 guests" sbatch "${blank_guest[@]}" -N 2 --vm-disk=volume=data,ro
}

# user_file NAME: alice's, from standard input; prints its path.
user_file()
{
	on_as alice ctl bash -c 'cat >~/"$1" && echo ~/"$1"' _ "$1"
}

@test "--vm-user-data refuses what is neither a cloud-config nor a script" {
	local text n=0 files=()
	for text in '' 'hello\n' '#cloud-config\n- a\n' '#cloud-config\na: [\n' '#cloud-config\n' '#cloud-config\na: 1\n---\nb: 2\n' \
		'#include\nhttp://127.0.0.1/\n' 'Content-Type: multipart/mixed\n' '## template: jinja\n#cloud-config\n{}\n' '\x1f\x8b\x08' \
		'#!/bin/sh\n\xff\n' '#!/bin/sh\n\x00\n' '#!sh\n'; do
		# shellcheck disable=SC2059 # escapes are wanted
		files+=("$(printf "$text" | user_file "bad-user-data-$((n += 1))")")
	done
	files+=("$({ echo '#!/bin/sh' && head -c 65536 /dev/zero | tr '\0' '#'; } | user_file too-large)")
	assert_option_refuses --vm-user-data "${hostile[@]}" "${files[@]}" /etc/shadow /etc /dev/zero
}

@test "--vm-net refuses what is no network" {
	assert_option_refuses --vm-net "${hostile[@]}" lan,mac=nonsense lan,mac=ff:ff:ff:ff:ff:ff lan,mac=01:00:5e:00:00:01 \
		lan,tcp=x lan,tcp=0 lan,tcp=65536:1 lan,tcp=-1 lan,nonsense=1 nosuchnetwork
}

@test "--vm-script refuses what is no place" {
	assert_option_refuses --vm-script "${hostile[@]}" nonsense Host 1
}

@test "--vm-cpu refuses what is no model" {
	assert_option_refuses --vm-cpu "${hostile[@]}"
}

@test "--vm-grace refuses what is no time" {
	assert_option_refuses --vm-grace "${hostile[@]}" "${not_numbers[@]}" 9999-00:00:00 1:2:3:4
}

@test "--vm-ha refuses what is no priority" {
	assert_option_refuses --vm-ha ';' "${not_numbers[@]}" 1001 0
}

@test "too many disks, networks and forwards are refused" {
	local i disks=() nets=() forwards=user
	for ((i = 0; i < 17; i++)); do
		disks+=(--vm-disk=size=1M) nets+=(--vm-net=lan) forwards+=,tcp=$((1000 + i))
	done
	assert_refused vm-disk sbatch "${blank_guest[@]}" "${disks[@]}"
	assert_refused vm-net sbatch "${blank_guest[@]}" "${nets[@]}"
	assert_refused vm-net sbatch "${blank_guest[@]}" "--vm-net=$forwards"
}

@test "options without --vm-image are refused" {
	assert_refused vm-image sbatch --vm-memory=1G --wrap=true
	assert_refused vm-image sbatch --vm-net=lan --wrap=true
}

@test "the environment is checked as the options are" {
	assert_refused VMJOB_MEMORY env VMJOB_MEMORY=nonsense sbatch --vm-image=blank --wrap=true
	assert_refused VMJOB_IMAGE env 'VMJOB_IMAGE=../x' sbatch --wrap=true
	assert_refused VMJOB_PERSISTENT env VMJOB_PERSISTENT=../x sbatch --vm-image=blank --wrap=true
	assert_refused VMJOB_DISK env 'VMJOB_DISK=size=1M;volume=../x' sbatch --vm-image=blank --wrap=true
	assert_refused VMJOB_USER_DATA env VMJOB_USER_DATA=/nonexistent sbatch --vm-image=blank --wrap=true
	assert_refused VMJOB_GRACE env VMJOB_GRACE=-1 sbatch --vm-image=blank --wrap=true
}

@test "#SBATCH lines are checked as the options are" {
	assert_refused vm-memory bash -c 'printf "#!/bin/sh\n#SBATCH --vm-image=blank --vm-memory=nonsense\n" | sbatch'
}

@test "limits of the site are limits" {
	assert_refused memory sbatch "${blank_guest[@]}" --vm-memory=8T
	assert_refused disk sbatch "${blank_guest[@]}" --vm-disk=size=60T
}

@test "another user's image is not there" {
	local job
	if job=$(submit "${blank_guest[@]}" --vm-image=private 2>&1); then
		assert_end "$job" FAILED 1:0
		assert_output "$job" private
	else
		[[ $job == *private* ]] || fail "the refusal lacks the image's name: $job"
	fi
}

@test "another user's guest cannot be seen, stopped, reset or read" {
	local job verb
	job=$(kept victim)
	await_domain "$job" running
	for verb in stop 'stop --force' reset show console; do
		# shellcheck disable=SC2086 # verb and option
		assert_refused "$job" vmjob $verb "$job" </dev/null
	done
	[[ $(on_as alice ctl vmjob list --all --json) != *"$job"* ]] || fail "alice sees bob's guest"
	[[ $(on_as bob ctl vmjob list --json) == *"$job"* ]] || fail "bob does not see his guest"
	[[ $(on_as carol ctl vmjob list --all --json) == *"$job"* ]] || fail "carol, an operator, does not see bob's guest"
	domain_is "$job" "$(host_of "$job")" running || fail "bob's guest is no longer running"
}

@test "nonsense for a job's number is refused by every verb" {
	local verb number
	for verb in stop reset show console; do
		for number in nonsense -1 0 4294967296 '1;reboot' ''; do
			assert_refused "$number" vmjob $verb -- "$number"
		done
	done
}

# agent_client SCRIPT: runs Python on the victim's host as alice, with `agent()` giving a new connection.
agent_client()
{
	on_as alice "$(host_of "$(kept victim)")" python3 -c '
import os, random, resource, select, socket, struct, sys, time
def agent():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect("/run/vmjob/agent.sock")
    return s
def frame(kind, payload):
    return struct.pack(">I", len(payload) + 1) + kind + payload
def answer(s):
    size = b""
    while len(size) < 4:
        piece = s.recv(4 - len(size))
        if not piece: return None
        size += piece
    (size,) = struct.unpack(">I", size)
    body = b""
    while len(body) < size:
        piece = s.recv(size - len(body))
        if not piece: return None
        body += piece
    return body
'"$1"
}

agent_pid()
{
	on "$(host_of "$(kept victim)")" pgrep -x vmjobd
}

# The agent is the same process, answers, and the victim runs.
assert_agent_unharmed()
{
	local host
	host=$(host_of "$(kept victim)")
	assert_equal "pid of the agent" "$(agent_pid)" "$1"
	on_as bob "$host" vmjob list --json | grep -q "$(kept victim)" || fail "the agent does not answer"
	domain_is "$(kept victim)" "$host" running || fail "the guest is no longer running"
}

@test "garbage to the agent's socket ends that connection and nothing else" {
	local before
	await_domain "$(kept victim)" running
	before=$(agent_pid)
	agent_client '
random.seed(2)
pieces = [b"\0", b"\0\0\0\0", b"\xff" * 4, b"\0\0\0\1J", b"GET / HTTP/1.0\r\n\r\n",
    frame(b"J", b""), frame(b"J", b"{"), frame(b"J", b"[]"), frame(b"J", b"null"), frame(b"J", b"{}"),
    frame(b"J", b"{\"op\":1}"), frame(b"J", b"{\"op\":\"nonsense\"}"), frame(b"J", b"{\"op\":\"stop\"}"),
    frame(b"J", b"{\"op\":\"stop\",\"job\":-1}"), frame(b"J", b"{\"op\":\"stop\",\"job\":1e99}"),
    frame(b"J", b"{\"op\":\"show\",\"job\":\"../x\"}"), frame(b"J", b"[" * 100000), frame(b"J", b"{\"op\":\"" + b"\xff" * 99 + b"\"}"),
    frame(b"X", b"x"), frame(b"D", b"x" * 4096), struct.pack(">I", 1 << 30) + b"J", struct.pack(">I", 200) + b"J{\"op\""]
pieces += [random.randbytes(random.randrange(1, 5000)) for i in range(200)]
for p in pieces:
    s = agent()
    try:
        s.sendall(p)
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536): pass
    except (BrokenPipeError, ConnectionResetError): pass
    s.close()'
	assert_agent_unharmed "$before"
}

@test "operations that are root's are refused to users" {
	local before
	await_domain "$(kept victim)" running
	before=$(agent_pid)
	agent_client '
for op in "prepare", "release":
    s = agent()
    s.sendall(frame(b"J", b"{\"op\":\"%s\",\"job\":%s}" % (op.encode(), b"'"$(kept victim)"'")))
    got = answer(s)
    assert got and b"\"ok\":false" in got.replace(b" ", b""), (op, got)'
	assert_agent_unharmed "$before"
}

@test "ten thousand connections to the agent do not keep others from it" {
	local before flood
	await_domain "$(kept victim)" running
	before=$(agent_pid)
	exec {flood}> >(agent_client '
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
held = []
for i in range(10000):
    s = socket.socket(socket.AF_UNIX)
    s.setblocking(False)
    try: s.connect("/run/vmjob/agent.sock")
    except OSError: continue
    if len(held) < limit - 100: held.append(s)
open("/tmp/flooded", "w")
sys.stdin.readline()')
	await "$(scaled 60)" on "$(host_of "$(kept victim)")" test -e /tmp/flooded >/dev/null || fail "the flood never came"
	assert_agent_unharmed "$before"
	exec {flood}>&-
	await "$(scaled 20)" on "$(host_of "$(kept victim)")" rm /tmp/flooded
	assert_agent_unharmed "$before"
}

@test "vmjob.conf with an unknown key is refused with file and line" {
	local host text
	host=$(hosts | tail -n 1)
	text=$(on "$host" bash -c '{ cat /etc/slurm/vmjob.conf; echo "nonsense = 1"; } >/tmp/bad.conf
		! VMJOB_CONF=/tmp/bad.conf timeout 10 vmjobd 2>&1') || fail "vmjobd started with it: $text"
	[[ $text == */tmp/bad.conf:"$(on "$host" wc -l /tmp/bad.conf | cut -d' ' -f1)":*nonsense* ]] || fail "no file:line: $text"
}

# forge [OPTION...]: as alice, past sbatch and the SPANK plugin; see forge-submit.c.
forge()
{
	on_as alice ctl /tmp/forge-submit "$@"
}

# assert_forgery_refused WORD REQUEST
assert_forgery_refused()
{
	local text
	text=$(forge -c "VMJOB_REQUEST=$2" 2>&1) && fail "accepted as job $text: $2"
	[[ $text == *"$1"* ]] || fail "the refusal of $2 lacks '$1': $text"
}

@test "a forged request is checked as sbatch's own is" {
	assert_forgery_refused VMJOB_REQUEST ''
	assert_forgery_refused VMJOB_REQUEST nonsense
	assert_forgery_refused VMJOB_REQUEST '{'
	assert_forgery_refused VMJOB_REQUEST '[]'
	assert_forgery_refused image '{}'
	assert_forgery_refused image '{"image":"../../etc/passwd"}'
	assert_forgery_refused image '{"image":["blank"]}'
	assert_forgery_refused surprise '{"image":"blank","surprise":1}'
	assert_forgery_refused memory '{"image":"blank","memory":1e30}'
	assert_forgery_refused memory '{"image":"blank","memory":8388608}'
	assert_forgery_refused vcpus '{"image":"blank","vcpus":4294967295}'
	assert_forgery_refused cpu '{"image":"blank","cpu":"<x/>"}'
	assert_forgery_refused vm-net '{"image":"blank","nets":[{"network":"lan","mac":"$(reboot)"}]}'
	assert_forgery_refused vm-disk '{"image":"blank","disks":[{"volume":"../data"}]}'
	assert_forgery_refused twice '{"image":"blank","disks":[{"volume":"data"},{"volume":"data","storage":"default"}]}'
	assert_forgery_refused nosuchstorage '{"image":"blank","disks":[{"volume":"data","storage":"nosuchstorage"}]}'
	assert_forgery_refused read '{"image":"blank","disks":[{"image":"tiny"}]}'
	assert_forgery_refused vm-persistent '{"image":"blank","persistent":"/etc/shadow"}'
	assert_forgery_refused image '{"image":"blank","image_owner":"../bob"}'
	assert_forgery_refused ssh_keys '{"image":"blank","ssh_keys":["ssh-rsa AAAA\\nroot"]}'
	assert_forgery_refused vm-user-data '{"image":"blank","user_data":"nonsense"}'
	assert_forgery_refused VMJOB_REQUEST "{\"image\":\"$(printf 'x%.0s' {1..17000})\"}"
}

@test "forged user data is refused, and dropped without a request for it" {
	local data digest request text job value
	data=$(printf '#!/bin/sh\n' | base64 -w 0) digest=$(printf '#!/bin/sh\n' | sha256sum | cut -d' ' -f1)
	request="VMJOB_REQUEST={\"image\":\"blank\",\"memory\":32,\"script\":\"none\",\"user_data\":\"$digest\"}"
	for value in '' nonsense "${data}AAAA" "$(echo '#!/bin/sh -x' | base64 -w 0)" "$(printf 'A%.0s' {1..90000})"; do
		text=$(forge -c "$request" -c "VMJOB_USER_DATA=$value" 2>&1) && fail "accepted as job $text: $value"
		[[ $text == *"user data"* ]] || fail "the refusal lacks 'user data': $text"
	done
	text=$(forge -c "$request" 2>&1) && fail "accepted without user data as job $text"
	[[ $text == *VMJOB_USER_DATA* ]] || fail "the refusal lacks VMJOB_USER_DATA: $text"
	text=$(forge -c "$request" -c "VMJOB_USER_DATA=$data" -c "VMJOB_USER_DATA=$data" 2>&1) && fail "accepted twice as job $text"
	text=$(forge -c "$request" -c "SPANK_VMJOB_USER_DATA=$data" 2>&1) && fail "SPANK_ is accepted as job $text"
	text=$(forge -c "VMJOB_REQUEST={\"image\":\"blank\",\"user_data\":\"$(base64 -d <<<I2luY2x1ZGUK | sha256sum | cut -d' ' -f1)\"}" \
		-c VMJOB_USER_DATA=I2luY2x1ZGUK 2>&1) && fail "#include is accepted as job $text"
	for value in "$request" 'VMJOB_REQUEST={"image":"blank","memory":32,"script":"none"}' VMJOB_NONSENSE=1; do
		job=$(forge -m 400 -c "VMJOB_USER_DATA=$data" -c "$value") || fail "refused: $job"
		echo "$job" >>"$BATS_TEST_TMPDIR/jobs"
	done
	assert_end "$job" COMPLETED 0:0 # the last one, which is no guest's
}

@test "a forged request gets no more CPUs and no less memory than its job has" {
	local job
	job=$(forge -m 10 -c 'VMJOB_REQUEST={"image":"blank","memory":64,"script":"none"}')
	echo "$job" >>"$BATS_TEST_TMPDIR/jobs"
	[ "$(on ctl scontrol show job -o "$job" | grep -o 'MinMemoryNode=[0-9]*' | cut -d= -f2)" -gt 64 ] ||
		fail "the guest's job has less memory than the guest: $(job_value "$job" MinMemoryNode)"
	assert_forgery_refused vcpus '{"image":"blank","vcpus":7}'
}

@test "variables that pretend to be the plugin's make no guest" {
	local job
	job=$(forge -e 'SLURM_SPANK_VMJOB_REQUEST={"image":"blank"}' -e 'SPANK_VMJOB_REQUEST={"image":"blank"}' \
		-e 'VMJOB_REQUEST={"image":"blank"}' -e VMJOB_AGENT_SOCKET=/tmp/none -c 'VMJOB_NONSENSE=1')
	echo "$job" >>"$BATS_TEST_TMPDIR/jobs"
	assert_end "$job" COMPLETED 0:0
	assert_nothing_left "$(host_of "$job")" "$job"
}
