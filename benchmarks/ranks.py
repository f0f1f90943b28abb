#!/usr/bin/env python3
"""Time and bytes of a training step on several ranks, beside one process.

    benchmarks/ranks.py                       # the 784-wide autoencoder, global batch 1024
    benchmarks/ranks.py --ranks 1 2 --rate 1  # as root: ranks in network namespaces, 1 Gbit/s
    benchmarks/ranks.py --rate 1 --latency 0.5    # and half a millisecond each way

A run of few steps is taken from one of many, so that loading does not count; runs of all numbers of
ranks alternate, and each number's best counts. Beside the time stands the processor time of all ranks
together, which on a busy machine says more: half of it, were nothing else running, is what a step of
two ranks takes. --rate puts each rank into a namespace of its own,
joined by virtual Ethernet of that many Gbit/s (token bucket), and reads the bytes that really went
over it; --latency delays what is sent (delayed_links.py, which takes some of the processors' time).
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = {"bp": ["rule=bp"], "pc": ["rule=pc"], "bp + projection": ["rule=bp", "rescaling=projection"],
          "pc + projection": ["rule=pc", "rescaling=projection"],
          "pc + decorrelation": ["rule=pc", "rescaling=decorrelation"], "kpc": ["rule=kpc", "learning_rate=1"]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", default=str(ROOT / "build/release/bin"))
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--models", nargs="+", default=["bp", "pc", "pc + projection"], choices=MODELS)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rate", type=float, help="Gbit/s between namespaces")
    parser.add_argument("--latency", type=float, default=0, help="milliseconds each way, with --rate")
    return parser.parse_args()


class Network:
    """Namespaces pcxx0, pcxx1, ..., joined by a bridge or by links that take time, each with a rate
    limit on what it sends."""

    def __init__(self, size, gbit, latency):
        self.size = size
        self.relay = None
        hosts = "127.0.0.1 localhost\n" + "".join(f"10.77.0.{i + 1} pcxx{i}\n" for i in range(size))
        for i in range(size):
            self.run("ip", "netns", "add", f"pcxx{i}")
            etc = pathlib.Path(f"/etc/netns/pcxx{i}")  # what the namespace has in place of /etc/hosts
            etc.mkdir(parents=True, exist_ok=True)
            (etc / "hosts").write_text(hosts)
        if latency:
            self.join_by_relay(latency)
        else:
            self.join_by_bridge()
        for i in range(size):
            self.inside(i, "ip", "addr", "add", f"10.77.0.{i + 1}/24", "dev", f"pcxx{i}")
            self.inside(i, "ip", "link", "set", f"pcxx{i}", "up")
            self.inside(i, "ip", "link", "set", "lo", "up")
            self.inside(i, "tc", "qdisc", "add", "dev", f"pcxx{i}", "root", "tbf", "rate", f"{gbit}gbit",
                        "burst", "256k", "latency", "50ms")

    def join_by_bridge(self):
        self.run("ip", "link", "add", "pcxxbr", "type", "bridge")
        self.run("ip", "link", "set", "pcxxbr", "up")
        for i in range(self.size):
            self.run("ip", "link", "add", f"pcxxo{i}", "type", "veth", "peer", "name", f"pcxx{i}",
                     "netns", f"pcxx{i}")
            self.run("ip", "link", "set", f"pcxxo{i}", "master", "pcxxbr", "up")

    def join_by_relay(self, latency):
        names = [f"pcxx{i}" for i in range(self.size)]
        self.relay = subprocess.Popen([sys.executable, ROOT / "benchmarks/delayed_links.py", str(latency),
                                       *names], stdout=subprocess.PIPE, text=True)
        if self.relay.stdout.readline() != "ready\n":
            sys.exit("ranks.py: there are no delayed links")
        for i in range(self.size):  # fewer frames: each costs the relay the same
            self.inside(i, "ip", "link", "set", f"pcxx{i}", "mtu", "9000")

    @staticmethod
    def run(*words):
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def inside(self, i, *words):
        return self.run("ip", "netns", "exec", f"pcxx{i}", *words)

    def sent(self, i):
        link = json.loads(self.inside(i, "ip", "-j", "-s", "link", "show", f"pcxx{i}"))[0]
        return link["stats64"]["tx"]["bytes"]

    def remove(self):
        if self.relay:
            self.relay.kill()
        for i in range(self.size):
            subprocess.run(["ip", "netns", "del", f"pcxx{i}"], check=False)
            shutil.rmtree(f"/etc/netns/pcxx{i}", ignore_errors=True)
        subprocess.run(["ip", "link", "del", "pcxxbr"], check=False, stderr=subprocess.DEVNULL)


def launcher(ranks, network, folder):
    if ranks == 1:
        return []
    words = ["mpirun", "-n", str(ranks)]
    if network is None:
        return words
    # What mpirun takes for ssh enters the namespace of the host instead.
    agent = folder / "agent"
    agent.write_text("#!/bin/sh\nhost=$1\nshift\n"
                     "exec ip netns exec $host unshare -u sh -c \"hostname $host; $*\"\n")
    agent.chmod(0o755)
    hosts = ",".join(f"pcxx{i}" for i in range(ranks))
    return ["ip", "netns", "exec", "pcxx0", "unshare", "-u", "sh", "-c",
            "hostname pcxx0; exec \"$@\"", "sh"] + words + [
        "--host", hosts, "--bind-to", "none", "--mca", "plm_rsh_agent", str(agent), "--mca", "btl", "tcp,self",
        "--mca", "pml", "ob1", "--mca", "btl_tcp_if_include", "10.77.0.0/24",
        "--mca", "oob_tcp_if_include", "10.77.0.0/24", "-x", "OMP_NUM_THREADS"]


def run(options, model, ranks, steps, network, folder):
    """Seconds of the program, of all its processors, bytes its first rank has sent, those on the link."""
    out = folder / "out"
    words = [f"{options.bin}/pcxx-autoencoder", "--quiet", "--out", str(out)]
    settings = ["dataset=digits", "samples=4096", "test_samples=64", "seeds=1", "learning_rate=0.1",
                f"batch_size={options.batch}", f"steps={steps}", "test_every=100000",
                "checkpoint_every=0", "measure=[]", "inference=error_descent", "inference_steps=20",
                "inference_step_size=0.1", "inference_tolerance=0",
                "inference_energy_tolerance=0"] + MODELS[model]
    for setting in settings:
        words += ["--set", setting]
    environment = dict(os.environ, OMP_NUM_THREADS="1", PCXX_PYTHON="/nonexistent",
                       OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                       OMPI_MCA_rmaps_base_oversubscribe="1")
    before = network.sent(0) if network else 0
    used = processor_time()
    subprocess.run(launcher(ranks, network, folder) + words, check=True, env=environment)
    link = network.sent(0) - before if network else 0
    told = json.loads((out / "environment.json").read_text())
    return told["seconds"], processor_time() - used, told.get("bytes_sent", 0), link


def processor_time():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(options, network, folder):
    print("| model | ranks | ms a step | x one process | processor ms | kB sent a step | kB on the link |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    few, many = 2, 2 + options.steps
    for model in options.models:
        best = {}
        for _ in range(options.repeat):
            for ranks in options.ranks:
                short = run(options, model, ranks, few, network, folder)
                long = run(options, model, ranks, many, network, folder)
                found = [(b - a) / options.steps for a, b in zip(short, long)]
                best[ranks] = [min(pair) for pair in zip(found, best.get(ranks, found))]
        for ranks, (seconds, processor, told, link) in best.items():
            speed = best[options.ranks[0]][0] / seconds
            print(f"| {model} | {ranks} | {1e3 * seconds:.1f} | {speed:.2f} | {1e3 * processor:.1f} | "
                  f"{told / 1e3:.0f} | {link / 1e3:.0f} |", flush=True)


def main():
    options = arguments()
    network = Network(max(options.ranks), options.rate, options.latency) if options.rate else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(options, network, pathlib.Path(folder))
    finally:
        if network:
            network.remove()


if __name__ == "__main__":
    main()
