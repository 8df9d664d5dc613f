"""`make check`, last part: the wheel in an empty environment, at work from a folder that is not the source's."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
PACKAGES = {"gossip", "node", "plugins", "sharding", "state", "tui"}
ROWS = 500


def say(text: str) -> None:
    print(f"wheel: {text}", flush=True)


def bare() -> dict[str, str]:
    """The environment without what would lead Python or the commands elsewhere."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "COLLECT_"))}


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that has to succeed within five minutes."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=bare(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(folder: Path) -> Path:
    run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        folder / "dist",
        SOURCE,
        cwd=folder,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == PACKAGES, f"the wheel holds {sorted(tops)}, not {sorted(PACKAGES)}"
    assert all(f"{package}/py.typed" in names for package in PACKAGES), "a py.typed is not in the wheel"
    say(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size:,} bytes")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """The folder with the commands."""
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    commands = folder / "venv" / "bin"
    run(commands / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel, cwd=folder)
    return commands


def check_commands(commands: Path, work: Path) -> None:
    text = run(commands / "collect", "--help", cwd=work)
    assert "submit" in text, text
    assert "watch" in text, text
    version = run(commands / "collect-node", "--version", cwd=work).strip()
    assert re.search(r"\d+\.\d+\.\d+$", version), f"--version said {version!r}"
    say(f"collect --help; collect-node --version: {version}")


def collect(commands: Path, work: Path) -> None:
    """A node, a task, its rows."""
    (work / "in.csv").write_text("id,word\n" + "".join(f"{i},w{i}\n" for i in range(ROWS)), encoding="utf-8")
    task = {"source": {"plugin": "csv", "path": "in.csv"}, "sink": {"plugin": "jsonl", "path": "rows"}}
    (work / "task.json").write_text(json.dumps(task), encoding="utf-8")
    log = work / "node.log"
    flags = ["--name", "wheel", "--data-dir", "data", "--http", "127.0.0.1:0", "--mesh", "127.0.0.1:0"]
    with log.open("wb") as out:
        node = subprocess.Popen(
            [str(commands / "collect-node"), *flags, "--profile", "local", "--no-mdns"],
            cwd=work, env=bare(), stdout=out, stderr=out,
        )  # fmt: skip
    try:
        url = address(node, log)
        run(commands / "collect", "submit", "--wait", "--url", url, "task.json", cwd=work)
        node.terminate()
        assert node.wait(20) == 0, f"the node ended with {node.returncode}:\n{log.read_text()}"
    finally:
        if node.poll() is None:
            node.kill()
            node.wait()
    lines = [
        line for part in sorted((work / "rows").glob("*.jsonl")) for line in part.read_text().splitlines()
    ]
    got = sorted(int(json.loads(line)["id"]) for line in lines)
    assert got == list(range(ROWS)), f"{len(got)} rows published, {ROWS} are in the source"
    say(f"{ROWS} rows collected by the installed node, which then stopped in order")


def address(node: "subprocess.Popen[bytes]", log: Path) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end and node.poll() is None:
        if found := re.search(r"^http +(\S+)$", log.read_text(errors="replace"), re.MULTILINE):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the node did not start:\n{log.read_text(errors='replace')}")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="collect-wheel-") as name:
        folder = Path(name)
        work = folder / "elsewhere"
        work.mkdir()
        try:
            commands = install(build(folder), folder)
            check_commands(commands, work)
            collect(commands, work)
        except AssertionError as error:
            say(f"FAILED: {error}")
            return 1
    say("good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
