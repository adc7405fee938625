# SPDX-License-Identifier: Apache-2.0
"""Kills commands at random moments of their work and runs them again: what is written is whole, and nothing is lost.

    python -m benchmarks.trust.kills [--commands fuse distill] [--kills 50] [--seed 0] [--out kills.jsonl]

Each command runs once unharmed, on tiny scenes; its work begins where its lock appears. Then it is killed (SIGKILL, it
and its children) at a moment drawn between that and its end, and run again to the end. A fault: the second run does not
end with code 0 or logs a traceback, its results are others than the unharmed ones, or a part or a lock is left over.
OUT keeps the rows, so that a run goes on where it was; `--seconds` ends a part with code 2. Exit code 1 where there is
a fault.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import tyro

from dropclip_ros.base.reading import read_about, read_tensors

ROOT = Path(__file__).resolve().parents[2]
SAID = {
    "category": "coffee mug", "color": ["teal"], "material": ["ceramic"], "state": ["empty"], "utility": ["coffee"],
    "affordance": ["I need something for my coffee"], "title": None, "brand": None,
}  # fmt: skip
RECIPE = "stem: 4\nplanes: [4, 4, 8, 8, 8, 8, 4, 8]\nbatch_size: 2\nepochs: 0\nsteps: 8\npartial_steps: 8\nworkers: 0\n"
RECIPE += "save_every: 2\n"


@dataclass(frozen=True)
class Command:
    """arguments: of python, by the folder of inputs and that of the output; results: names below the latter."""

    arguments: Callable[[Path, Path], Sequence[object]]
    results: tuple[str, ...]
    start: Callable[[Path, Path], None] = lambda inputs, out: None
    limit: float = 600.0


def _copy_scenes(inputs: Path, out: Path) -> None:
    for name in ("train", "validation", "unseen_instance"):
        shutil.copytree(inputs / "scenes" / name, out / "scenes" / name, dirs_exist_ok=True)


def _copy_fit(inputs: Path, out: Path) -> None:
    shutil.copytree(inputs / "fit", out)


TRAIN = "scenes/train"
COMMANDS = {
    "export": Command(
        lambda i, o: ("-m", "training.mvtod", "export", "--to", "coco", "--scenes", i / "many", "--out", o),
        ("annotations.json", "images/*/*"),
    ),
    "shards": Command(
        lambda i, o: ("-m", "training.mvtod", "export", "--to", "webdataset", "--scenes", i / "many", "--out", o),
        ("*.tar", "*.json"),
    ),
    "fuse": Command(
        lambda i, o: ("-m", "training.fusion.run", "--scenes", i / TRAIN, "--out", o, "--min-pixels", 20),
        ("fused.safetensors", "scene_*.safetensors"),
    ),
    "distill": Command(
        lambda i, o: (
            "-m", "training.distill", "--scenes", i / TRAIN, "--fused", i / "fused.safetensors", "--out", o,
            "--config", i / "distill.yaml",
        ),
        ("model/encoder.safetensors",),
    ),
    "eval": Command(
        lambda i, o: (
            "-m", "training.evaluate", "table3", "--scenes", i / "scenes", "--cache", o / "cache", "--out", o,
            "--limit", 1, "--validation", 1, "--views", 2,
        ),
        ("table3.csv",),
    ),
    "ovs3d": Command(
        lambda i, o: (
            "-m", "training.ovs3d.cli", "fit", "--scene", i / "posed", "--out", o, "--config", i / "ovs3d.yaml",
            "--device", "cpu",
        ),
        ("config.yaml", "fit.json"),
    ),
    "annotate": Command(
        lambda i, o: (
            "-m", "training.mvtod", "annotate", "--url", (i / "url").read_text(), "--model", "seer", "--out", o,
            "--catalogue", i / "few", "--concurrency", 1,
        ),
        ("catalogue.json",),
    ),
    "make": Command(
        lambda i, o: (
            "-m", "training.make", "--out", o, "--stage", "tower", "--recipe.tower.steps", 6,
            "--recipe.tower.batch-size", 8, "--recipe.tower.save-every", 2, "--recipe.tower.phrases", 16,
        ),
        ("image_tower.safetensors", "text_adapter.safetensors"),
        _copy_scenes,
    ),
}  # fmt: skip


def make_inputs(folder: Path) -> None:
    """Scenes of boxes, posed pictures, a catalogue, recipes and what an endpoint says, below a folder."""
    sys.path.insert(0, str(ROOT / "test"))
    from mvtod_support import write_scenes, write_splits
    from ovs3d_support import tiny, world, write_nerfstudio

    from training.objects.catalogue import Catalogue
    from training.runs.recipes import write_config

    write_splits(folder / "scenes", ("train", "validation", "unseen_instance"))
    write_scenes(folder / "many", 12, 6, (240, 320))
    write_nerfstudio(folder / "posed", world(8, depth=False))
    write_config(folder / "ovs3d.yaml", tiny(steps=60, hold_out=0))
    (folder / "distill.yaml").write_text(RECIPE)
    Catalogue(Catalogue.procedural().specs[:4]).save(folder / "few")
    fused = [*map(str, COMMANDS["fuse"].arguments(folder, folder / "fused"))]
    subprocess.run([sys.executable, *fused], check=True, env=environment(), stdout=subprocess.DEVNULL)
    shutil.copy(folder / "fused" / "fused.safetensors", folder)


def serve(folder: Path) -> None:
    """An endpoint that says SAID of everything, after a moment; its address goes to `url`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(0.3)
            body = json.dumps({"choices": [{"message": {"content": json.dumps(SAID)}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "url").write_text(f"http://127.0.0.1:{server.server_port}/v1")


def environment() -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MUJOCO_GL": "osmesa", "HF_HUB_OFFLINE": "1"}
    return dict(os.environ) | own


def run(command: Command, inputs: Path, out: Path, after: float = math.inf) -> tuple[int | None, float, str]:
    """Code (None: killed `after` seconds of work), seconds of work, and what it said. The work begins at its lock."""
    lock, log = out.parent / f".{out.name}.lock", out.parent / f"{out.name}.log"
    arguments = [*map(str, command.arguments(inputs, out))]
    with log.open("w") as file:
        child = subprocess.Popen(
            [sys.executable, *arguments], stdout=file, stderr=file, env=environment(), start_new_session=True
        )
    begun, end = None, time.monotonic() + command.limit
    while child.poll() is None and time.monotonic() < end:
        now = time.monotonic()
        if begun is None and lock.exists():
            begun = now
        if begun is not None and now - begun >= after:
            break
        time.sleep(0.002)
    seconds = time.monotonic() - (begun or time.monotonic())
    code = child.poll()
    if code is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        code = None if time.monotonic() < end else -1
    return code, seconds, log.read_text(errors="replace")


def digests(command: Command, out: Path) -> dict[str, str]:
    """SHA-256 of the results, by name."""
    files = sorted(path for pattern in command.results for path in out.glob(pattern) if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(_content(path)).hexdigest() for path in files}


def _content(path: Path) -> bytes:
    """What counts of a file; safetensors writes what it says beside the tensors in any order."""
    if path.suffix != ".safetensors":
        return path.read_bytes()
    tensors, about = read_tensors(path), read_about(path)
    return repr((sorted(about.items()), [(name, tensors[name].numpy().tobytes()) for name in sorted(tensors)])).encode()


def one_kill(name: str, inputs: Path, folder: Path, wanted: dict[str, str], work: float, r: random.Random) -> dict:
    """A kill and the run after it: when, and the fault or ""."""
    command, out, moment = COMMANDS[name], folder / "killed", r.uniform(0, work)
    for path in (out, out.parent / f".{out.name}.lock"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    command.start(inputs, out)
    first, _, _ = run(command, inputs, out, moment)
    code, _, said = run(command, inputs, out)
    fault = ""
    if first is not None:
        fault = "" if first == 0 else f"not killed: it ended with code {first}"
    elif code != 0 and "exists; remove it" not in said:
        fault = f"the run after it ended with code {code}: {(said.strip().splitlines() or [''])[-1][:200]}"
    elif "Traceback" in said:
        fault = "the run after it logged a traceback"
    elif (found := digests(command, out)) != wanted:
        differ = sorted(key for key in wanted | found if wanted.get(key) != found.get(key))
        fault = f"{len(differ)} of {len(wanted)} results differ, {differ[0]} first"
    elif left := [path.name for path in (*out.rglob("*.part"), *out.parent.glob("*.part"))]:
        fault = f"left over: {left[0]}"
    return {"killed": first is None, "moment": round(moment, 3), "fault": fault}


def main(
    commands: tuple[str, ...] = tuple(COMMANDS),
    kills: int = 50,
    seed: int = 0,
    out: Path | None = None,
    seconds: float = math.inf,
) -> int:
    """Prints a row for each command: how many kills met it at work, and the faults."""
    end = time.monotonic() + seconds
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out is not None and out.exists() else []
    done = {(line["command"], line["seed"], line["number"]): line for line in lines}
    with tempfile.TemporaryDirectory() as root:
        inputs, made = Path(root) / "inputs", False
        for name in commands:
            todo = [number for number in range(kills) if (name, seed, number) not in done]
            if not todo:
                continue
            if not made:
                inputs.mkdir()
                make_inputs(inputs)
                serve(inputs)
                made = True
            folder = Path(root) / name
            folder.mkdir()
            COMMANDS[name].start(inputs, folder / "whole")
            code, work, said = run(COMMANDS[name], inputs, folder / "whole")
            wanted = digests(COMMANDS[name], folder / "whole")
            print(f"{name}: {work:.1f} s of work, {len(wanted)} results, code {code}", flush=True)
            if code != 0 or not wanted:
                sys.exit(f"{name} does not run unharmed: {said[-500:]}")
            for number in todo:
                if time.monotonic() > end:
                    print("more is left: run the same command again")
                    return 2
                r = random.Random(f"{seed} {name} {number}")
                line = {"command": name, "seed": seed, "number": number}
                line |= one_kill(name, inputs, folder, wanted, work, r)
                done[name, seed, number] = line
                print(json.dumps(line), flush=True)
                if out is not None:
                    with out.open("a") as file:
                        file.write(json.dumps(line) + "\n")
    rows = [done[name, seed, number] for name in commands for number in range(kills)]
    print("| command | runs | killed at work | faults |\n| --- | --- | --- | --- |")
    for name in commands:
        own = [row for row in rows if row["command"] == name]
        tally = Counter(row["fault"] for row in own if row["fault"])
        print(f"| {name} | {len(own)} | {sum(row['killed'] for row in own)} | {tally.total()} |")
        for fault, count in tally.items():
            print(f"  {count} times: {fault}")
    return int(any(row["fault"] for row in rows))


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
