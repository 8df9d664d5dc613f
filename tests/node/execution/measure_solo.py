"""What one inline solo job costs: `python -m tests.node.execution.measure_solo [jobs] [--profile]`."""

import asyncio
import cProfile
import gc
import pstats
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop

from node.execution.jobs import Job, JobKey, Report
from node.execution.roots import FolderRoots
from node.execution.runner import Runner
from node.execution.secrets import Secrets
from plugins.http import NetworkRules
from plugins.registry import Registry


def jobs(count: int) -> list[Job]:
    """Solo jobs as a bulk submit makes them: 200 bytes of options of their own."""
    spec = {"source": {"plugin": "bench", "payload": ""}, "sink": [{"plugin": "discard"}]}
    made = []
    for index in range(count):
        spec["source"] = {"plugin": "bench", "payload": f"{index:0200}"}
        key = JobKey(f"task-{index}", "2026-01-01T00:00:00Z", "solo", "0")
        made.append(Job(key=key, tenant="default", spec=msgspec.json.encode(spec), token=(1, "node", 1)))
    return made


async def measure(count: int, *, profile: bool) -> None:
    reports: list[Report] = []
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            registry=Registry.installed(),
            roots=FolderRoots({"default": Path(folder)}),
            secrets=Secrets(None),
            network=NetworkRules(),
            on_report=reports.append,
            log=print,
        )
        await runner.start()
        submitted = jobs(count)
        longest, before = 0.0, time.perf_counter()
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        began = time.process_time()
        for start in range(0, count, 2000):
            runner.submit_many(submitted[start : start + 2000])
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, before = max(longest, now - before), now
        while len(runner):
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, before = max(longest, now - before), now
        spent = time.process_time() - began
        profiler.disable()
        await runner.close()
    states = {report.state for report in reports}
    print(f"{count} jobs {states}: {spent / count * 1e6:.1f} us of CPU a job")
    print(f"the loop was blocked for {longest * 1e3:.1f} ms at most")
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument.isdigit()]
    gc.set_threshold(200_000, 50, 100)
    uvloop.run(measure(int(arguments[0]) if arguments else 20_000, profile="--profile" in sys.argv))
