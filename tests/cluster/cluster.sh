#!/usr/bin/env bash
# A real Slurm cluster of four nodes on this one machine; README.md beside this file tells how.
#
#   cluster.sh up                            bring it up, or find it healthy; returns when all nodes are idle
#   cluster.sh down                          end it and remove every trace
#   cluster.sh status                        one line, then the state of the nodes; exit code 0 if healthy
#   cluster.sh exec [--as USER] CMD...       run CMD where srun, sbatch and squeue reach the cluster
#   cluster.sh on NODE [--as USER] CMD...    run CMD inside the mounts, network and host name of n1, n2, n3, n4 or ctl
#
# exec and on pass the exit code of CMD through; 125 means that CMD was not started.
set -euo pipefail

readonly run=/run/pmirror-cluster          # everything of the cluster lies below this directory
readonly lock=/run/pmirror-cluster.lock    # held while up or down work
readonly nodes=(n1 n2 n3 n4)
readonly cpus_per_node=64                  # what Slurm is told; the machine has fewer
readonly subnet=10.77.0                    # seen only inside the cluster's own network name spaces
readonly start_seconds_max=60
readonly stop_seconds_max=5
readonly exit_not_started=125
PATH=$PATH:/usr/sbin:/sbin                 # where the daemons are, also for an ordinary user

self=$(readlink -f "${BASH_SOURCE[0]}")
readonly self

main() {
    local command=${1:-help}
    [[ $# -eq 0 ]] || shift
    case $command in
        up | down | status)
            [[ $# -eq 0 ]] || fail "$command takes no arguments"
            become_root "$command"
            "$command"
            ;;
        exec) run_in ctl "$@" ;;
        on)
            [[ $# -ge 1 ]] || fail "on needs a node: ctl ${nodes[*]}"
            [[ " ctl ${nodes[*]} " == *" $1 "* ]] || fail "there is no node $1, only ctl ${nodes[*]}"
            run_in "$@"
            ;;
        keep) keep "$@" ;; # for make_space only
        help | -h | --help) usage ;;
        *)
            usage >&2
            fail "unknown command: $command"
            ;;
    esac
}

usage() { sed -n '/^# /s/^# \{0,1\}//p; /^set /q' "$self"; }

fail() {
    printf 'cluster.sh: %s\n' "$1" >&2
    exit "$exit_not_started"
}

# Name spaces belong to root. An ordinary user goes through sudo, with the PATH it came with.
become_root() {
    [[ $EUID -ne 0 ]] || return 0
    type -P sudo >/dev/null || fail "needs root, and there is no sudo"
    exec sudo --preserve-env env PATH="$PATH" "$self" "$@"
}

# ------------------------------------------------------------------------------------------------- up, down and status

up() {
    local before=$EPOCHREALTIME node
    require_commands
    take_lock
    if healthy && [[ $(cat "$run/made-by" 2>/dev/null) == "$(fingerprint)" ]]; then
        echo "cluster: ${#nodes[@]} nodes ready (already up)"
        return
    fi
    remove_all
    # What the daemons shall not take from the caller: a directory that stays busy, a mask that hides our files.
    cd /
    umask 022
    trap give_up EXIT
    write_configuration
    make_space ctl
    start_daemon ctl munged --force --num-threads=10 --key-file="$run/munge/key" --socket="$run/munge/socket" \
        --pid-file="$run/munged.pid" --log-file="$run/log/munged.log" --seed-file="$run/munge/seed"
    start_daemon ctl slurmctld -f "$run/etc/slurm.conf"
    for node in "${nodes[@]}"; do
        make_space "$node"
        start_daemon "$node" slurmd -N "$node" -f "$run/etc/slurm.conf"
    done
    wait_until_idle
    fingerprint >"$run/made-by"
    trap - EXIT
    echo "cluster: ${#nodes[@]} nodes ready in $(seconds_since "$before") s"
}

# Ends the processes of an `up` that failed, and leaves the logs.
give_up() {
    local log
    for log in "$run"/log/*.log; do
        printf '\n==> the end of %s\n' "$log" >&2
        tail -n 15 "$log" >&2
    done
    printf '\ncluster.sh: the cluster did not come up; its logs are in %s\n' "$run/log" >&2
    end_processes
}

down() {
    local before=$EPOCHREALTIME
    take_lock
    if [[ ! -e $run ]]; then
        echo "cluster: down (was not up)"
        return
    fi
    remove_all
    echo "cluster: down in $(seconds_since "$before") s"
}

status() {
    if healthy; then
        echo "cluster: up"
        node_states
    else
        echo "cluster: not ready"
        return 1
    fi
}

require_commands() {
    local command missing=()
    for command in slurmctld slurmd sinfo munged ip nsenter unshare setpriv flock; do
        type -P "$command" >/dev/null || missing+=("$command")
    done
    [[ ${#missing[@]} -eq 0 ]] || fail "missing: ${missing[*]}; run tests/install.sh test"
}

# Two that bring the cluster up at the same time share one. No daemon may inherit the descriptor: see start_daemon.
take_lock() {
    [[ -z ${IN_PMIRROR_CLUSTER:-} ]] || fail "up and down work from outside of the cluster only"
    exec 9>"$lock"
    flock --timeout 120 9 || fail "another cluster.sh holds $lock"
}

# A cluster that another version of this file made is made anew.
fingerprint() { cksum <"$self"; }

seconds_since() { awk -v before="$1" -v now="$EPOCHREALTIME" 'BEGIN { printf "%.1f", now - before }'; }

healthy() {
    local space daemon
    for space in ctl "${nodes[@]}"; do
        keeper "$space" >/dev/null || return 1
    done
    for daemon in munged slurmctld "${nodes[@]/#/slurmd-}"; do
        is_running "${daemon%-*}" "$run/$daemon.pid" || return 1
    done
    [[ $(node_states | grep -cE ' (idle|mixed|allocated|completing)$') -eq ${#nodes[@]} ]]
}

# Whether a pid file names a living process that runs this program.
is_running() {
    local pid
    { read -r pid <"$2"; } 2>/dev/null && [[ /proc/$pid/exe -ef $(type -P "$1") ]]
}

# Prints a line "NAME STATE" for each node, or nothing when the controller does not answer.
node_states() {
    SLURM_CONF=$run/etc/slurm.conf in_space ctl timeout 5 sinfo -h -N -o '%N %T' 2>/dev/null || true
}

wait_until_idle() {
    local deadline=$((SECONDS + start_seconds_max))
    until [[ $(node_states | grep -c ' idle$') -eq ${#nodes[@]} ]]; do
        [[ $SECONDS -lt $deadline ]] || fail "the nodes are not idle after $start_seconds_max s"
        sleep 0.1
    done
}

# Takes a running cluster down, and clears the remains of a dead one.
remove_all() {
    end_processes
    rm -rf --one-file-system "$run"
}

# The keepers go last, with their name spaces: if we are interrupted, the next attempt still finds everything.
end_processes() {
    local deadline=$((SECONDS + stop_seconds_max)) signal=TERM space pid pids
    while mapfile -t pids < <(our_processes) && [[ ${#pids[@]} -gt 0 ]]; do
        [[ $SECONDS -lt $deadline ]] || signal=KILL
        [[ $SECONDS -lt $((deadline + stop_seconds_max)) ]] || fail "cannot end the processes ${pids[*]}"
        kill -s "$signal" "${pids[@]}" 2>/dev/null || true
        sleep 0.1
    done
    for space in "${nodes[@]}" ctl; do
        if pid=$(keeper "$space"); then kill "$pid"; fi
    done
}

# Prints the ids of all processes in the cluster's networks but the keepers: daemons, steps, ranks, callers of exec and
# on. The kernel tells which those are, so no process of somebody else can be among them.
our_processes() {
    local space pid network path
    local -A ours=() keepers=()
    for space in ctl "${nodes[@]}"; do
        pid=$(keeper "$space") || continue
        keepers[$pid]=1
        ours[$(stat -Lc %i "/proc/$pid/ns/net")]=1
    done
    [[ ${#ours[@]} -gt 0 ]] || return 0
    while read -r network path; do
        pid=${path#/proc/} pid=${pid%%/*}
        if [[ -v ours[$network] && ! -v keepers[$pid] ]]; then echo "$pid"; fi
    done < <(stat -Lc '%i %n' /proc/[0-9]*/ns/net 2>/dev/null)
}

# ------------------------------------------------------------------------------------------------------- configuration

write_configuration() {
    mkdir -p "$run"/{etc,log,munge,spaces,spool,state}
    chmod 0700 "$run/state"
    hosts >"$run/etc/hosts"
    slurm_conf >"$run/etc/slurm.conf"
    mpi_conf >"$run/etc/mpi.conf"
    # Version 2 of the control groups needs no systemd then.
    echo "IgnoreSystemd=yes" >"$run/etc/cgroup.conf"
    (umask 0077 && head -c 128 /dev/urandom >"$run/munge/key")
}

address() {
    case $1 in
        ctl) echo "$subnet.1" ;;
        n*) echo "$subnet.1${1#n}" ;;
    esac
}

hosts() {
    local node
    echo "127.0.0.1 localhost"
    for node in ctl "${nodes[@]}"; do
        echo "$(address "$node") $node"
    done
}

slurm_conf() {
    local node
    cat <<END
ClusterName=pmirror
SlurmctldHost=ctl($(address ctl))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credentials have expired: 8 s instead of 120.
AuthInfo=socket=$run/munge/socket,cred_expire=8
StateSaveLocation=$run/state
SlurmdSpoolDir=$run/spool
SlurmctldPidFile=$run/slurmctld.pid
# Without %n each slurmd would stop the one before it.
SlurmdPidFile=$run/slurmd-%n.pid
SlurmctldLogFile=$run/log/slurmctld.log
SlurmdLogFile=$run/log/slurmd-%n.log
MailProg=/bin/true

MpiDefault=pmix
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/linear
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1

# Tests wait for these.
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=5

END
    for node in "${nodes[@]}"; do
        echo "NodeName=$node NodeAddr=$(address "$node") CPUs=$cpus_per_node Boards=1 SocketsPerBoard=1" \
            "CoresPerSocket=$cpus_per_node ThreadsPerCore=1 RealMemory=65536"
    done
    echo "PartitionName=main Nodes=n[1-4] Default=YES OverSubscribe=FORCE:64 MaxTime=INFINITE State=UP"
}

mpi_conf() {
    cat <<END
# With the default, /tmp, which all nodes share, only the first node could start a step.
PMIxCliTmpDirBase=$run/spool
# With the default, tree, some ranks leave the last barrier of MPI_Init too early, and what they send crashes others.
PMIxCollFence=ring
END
}

# ------------------------------------------------------------------------------------------------- spaces and daemons

# A "space" is a network, a host name and a table of mounts: what makes a node a node. A process that only sleeps, its
# keeper, holds it. (Bound to files instead, as `unshare --mount=FILE` does, Linux 6.18 refuses some of them.)

# Runs the command in a space.
in_space() {
    local pid
    pid=$(keeper "$1") || return
    shift
    nsenter --target "$pid" --net --uts --mount "$@"
}

# Prints the process id of the keeper of a space, or fails.
keeper() {
    local pid name
    { read -r pid <"$run/spaces/$1" && IFS= read -r -d '' name <"/proc/$pid/cmdline"; } 2>/dev/null || return
    [[ $name == "pmirror-cluster:$1" ]] && echo "$pid"
}

# Makes a space: for a node inside the controller's, whose mounts and later ones it sees.
make_space() {
    local space=$1 outer=() pid
    [[ $space == ctl ]] || outer=(in_space ctl)
    pid=$("${outer[@]}" setsid --fork unshare --net --uts --mount --propagation slave "$self" keep "$space" 9>&-)
    [[ -n $pid ]] || fail "cannot set up $space"
    echo "$pid" >"$run/spaces/$space"
    until keeper "$space" >/dev/null; do
        kill -0 "$pid" 2>/dev/null || fail "the keeper of $space ended"
        sleep 0.01
    done
}

# What make_space runs in the new space: set it up, print the process id, become the keeper.
keep() {
    local space=$1
    hostname "$space"
    ip link set lo up
    if [[ $space == ctl ]]; then
        # What is mounted here is seen by all nodes, as a file system of a real cluster is. What a node mounts, no
        # other sees. What the machine mounts is seen by all, if the machine shares its mounts.
        mount --make-rshared /
        mount --bind "$run/etc/hosts" /etc/hosts
        ip link add bridge type bridge
        ip address add "$(address ctl)/24" dev bridge
        ip link set bridge up
    else
        mount -t tmpfs -o mode=0755 spool "$run/spool"
        mount -t tmpfs -o mode=1777 shm /dev/shm
        ip link add eth0 type veth peer name "$space" netns "$(keeper ctl)"
        ip address add "$(address "$space")/24" dev eth0
        ip link set eth0 up
        in_space ctl ip link set "$space" master bridge up
    fi
    echo $$
    exec </dev/null >/dev/null 2>&1
    exec -a "pmirror-cluster:$space" sleep infinity
}

start_daemon() {
    local space=$1
    shift
    in_space "$space" "$@" </dev/null >>"$run/log/start.log" 2>&1 9>&-
}

# --------------------------------------------------------------------------------------------------------- exec and on

# Becomes the command: signals sent to this process reach it, and its exit code is ours.
run_in() {
    local space=$1 user='' identity=() pid
    shift
    if [[ ${1:-} == --as ]]; then
        [[ $# -ge 2 ]] || fail "--as needs a user"
        user=$2
        shift 2
    fi
    [[ $# -ge 1 ]] || fail "no command given"
    [[ $EUID -eq 0 ]] || become_root on "$space" --as "${user:-$EUID}" "$@"
    pid=$(keeper "$space") || fail "the cluster is not up; run: $self up"
    [[ -z $user ]] || become "$user"
    export SLURM_CONF=$run/etc/slurm.conf IN_PMIRROR_CLUSTER=1
    # More ranks than cores: a rank that waits gives its core away; README.md tells why TCP has a thread of its own.
    export OMPI_MCA_mpi_yield_when_idle="${OMPI_MCA_mpi_yield_when_idle:-1}"
    export OMPI_MCA_btl_tcp_progress_thread="${OMPI_MCA_btl_tcp_progress_thread:-1}"
    export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    # The current directory is found again by its name: as an open directory it would still be outside.
    # shellcheck disable=SC2016  # the inner shell expands these
    exec nsenter --target "$pid" --net --uts --mount \
        bash -c 'cd -- "$1" || exit 125; shift; exec "$@"' "$space" "$PWD" "${identity[@]}" "$@"
}

# Sets `identity` to the command that changes from root to a user, by name or by number.
become() {
    local name uid gid home
    if IFS=: read -r name _ uid gid _ home _ < <(getent passwd "$1"); then
        identity=(setpriv --reuid="$uid" --regid="$gid" --init-groups)
    elif [[ $1 =~ ^[0-9]+$ ]]; then
        name=$1 home=/
        identity=(setpriv --reuid="$1" --regid="$1" --clear-groups)
    else
        fail "there is no user $1"
    fi
    export HOME=$home USER=$name LOGNAME=$name
}

main "$@"
