# A Slurm of its own on this machine, for tests/slurm/try.sh: a controller and several nodes of one
# processor on loopback, with their own key, ports and folder. Needs root, and Debian's slurm-wlm and
# munge. Source it; then
#
#   start_cluster FOLDER NODES     # exports SLURM_CONF
#   stop_cluster

first_port=16817

# A requeued task waits for as long as a credential lives, 120 s where nothing is said.
write_slurm_conf() {
  local folder=$1 nodes=$2
  cat > "$folder/slurm.conf" <<CONF
ClusterName=pcxx
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$first_port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=15
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
MpiDefault=pmix
TmpFS=$folder/tmp-%n
ReturnToService=2
KillWait=5
NodeName=n[0-$((nodes - 1))] NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 \
Port=[$((first_port + 1))-$((first_port + nodes))] CPUs=1 RealMemory=2000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=500
CONF
}

start_munge() {
  local folder=$1
  head -c 128 /dev/urandom > "$folder/munge.key"
  chmod 600 "$folder/munge.key"
  chmod 755 "$folder"
  munged --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munge.pid" --log-file="$folder/munge.log" --seed-file="$folder/munge.seed"
}

start_cluster() {
  cluster_folder=$1
  local nodes=$2 node
  mkdir -p "$cluster_folder/state"
  write_slurm_conf "$cluster_folder" "$nodes"
  export SLURM_CONF=$cluster_folder/slurm.conf
  start_munge "$cluster_folder"
  slurmctld
  for ((node = 0; node < nodes; ++node)); do
    mkdir -p "$cluster_folder/spool-n$node" "$cluster_folder/tmp-n$node"
    slurmd -N "n$node"
  done
  for ((i = 0; i < 100; ++i)); do
    [[ "$(sinfo -h -t idle -o %D 2>/dev/null)" == "$nodes" ]] && return
    sleep 0.2
  done
  sinfo >&2
  echo "the nodes did not come up; see $cluster_folder/*.log" >&2
  return 1
}

stop_cluster() {
  local pid
  for pid in "$cluster_folder"/slurmd-*.pid "$cluster_folder/slurmctld.pid" \
    "$cluster_folder/munge.pid"; do
    [[ -e "$pid" ]] && kill "$(cat "$pid")" 2>/dev/null || true
  done
  for ((i = 0; i < 50; ++i)); do # the controller saves its state last
    compgen -G "$cluster_folder/*.pid" >/dev/null || return 0
    sleep 0.1
  done
}
