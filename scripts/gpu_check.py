"""The comparison of scripts/gpu-check: prints one line for each field, exits with 1 at a difference."""

import ctypes
import json
import subprocess
import sys
import tempfile
import time

PROGRAM = sys.argv[1]
TWO_GIB = 2 << 30
# Name in nvidia-smi, how to read ours, and how far two looks may be apart.
FIELDS = [
    ("index", lambda gpu: gpu["index"], 0),
    ("name", lambda gpu: gpu["name"], 0),
    ("pci.bus_id", lambda gpu: gpu["pci"], 0),
    ("memory.total", lambda gpu: gpu["memory"], 1),
    ("memory.reserved", lambda gpu: gpu["reserved"], 1),
    ("memory.used", lambda gpu: gpu["used"], 64),
    ("utilization.gpu", lambda gpu: gpu["busy_percent"], 30),
    ("temperature.gpu", lambda gpu: gpu["temperature"], 5),
    ("power.draw", lambda gpu: gpu["power"], 40),
    ("ecc.errors.uncorrected.volatile.total", lambda gpu: gpu["ecc_errors"], 0),
]


def ours():
    with tempfile.TemporaryDirectory() as folder:
        command = [PROGRAM, "--state-dir", folder, "gpus", "--format", "json"]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return json.loads(answer.stdout)


def theirs():
    names = ",".join(["uuid"] + [name for name, _, _ in FIELDS])
    command = ["nvidia-smi", f"--query-gpu={names}", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines()]
    return {row[0]: row[1:] for row in rows if row and row[0]}


def same(said, read, slack):
    if said.startswith("[") or said in ("N/A", ""):
        return read is None
    if read is None:
        return False
    try:
        return abs(float(said) - float(read)) <= slack
    except ValueError:
        return said == read


def compare():
    differences = 0
    report, expected = ours(), theirs()
    print(f"library {report['library']}, driver {report['driver']}")
    whole = {gpu["uuid"]: gpu for gpu in report["gpus"] if not gpu.get("parent")}
    if set(whole) != set(expected):
        print(f"DIFFERENT cards: {sorted(whole)} and {sorted(expected)}")
        differences += 1
    for uuid in sorted(set(whole) & set(expected)):
        for (name, read, slack), said in zip(FIELDS, expected[uuid]):
            value = read(whole[uuid])
            good = same(said, value, slack)
            differences += not good
            print(f"{'same' if good else 'DIFFERENT'}  {uuid}  {name}: nvidia-smi {said}, ours {value}")
    return differences


def allocate():
    """2 GiB of the first card in a process of its own; its pid is printed when it has them."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        print(error, flush=True)
        return
    device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    for code in (
        cuda.cuInit(0),
        cuda.cuDeviceGet(ctypes.byref(device), 0),
        cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device),
        cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(TWO_GIB)),
    ):
        if code != 0:
            print(f"error {code}", flush=True)
            return
    print("ready", flush=True)
    sys.stdin.read()


def attribute():
    command = [sys.executable, __file__, PROGRAM, "--allocate"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        said = child.stdout.readline().strip()
        if said != "ready":
            print(f"SKIPPED attribution: the driver does not give 2 GiB ({said})")
            return 0
        mib = 0
        for gpu in ours()["gpus"]:
            for process in gpu["processes"] or []:
                mib += (process["memory"] or 0) if process["pid"] == child.pid else 0
        good = mib >= TWO_GIB >> 20
        print(f"{'same' if good else 'DIFFERENT'}  2048 MiB and a context of process {child.pid}: {mib} MiB")
        return not good
    finally:
        child.stdin.close()
        child.wait(timeout=30)


def timed():
    took = []
    for _ in range(5):
        start = time.monotonic()
        ours()
        took.append((time.monotonic() - start) * 1000)
    print("a whole look, with loading the library: " + ", ".join(f"{ms:.0f} ms" for ms in took))


if "--allocate" in sys.argv:
    allocate()
else:
    found = compare() + attribute()
    timed()
    print(f"{found} differences" if found else "all the same")
    sys.exit(1 if found else 0)
