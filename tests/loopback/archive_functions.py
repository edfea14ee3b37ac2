"""Stand-ins for the registered functions that score an archive, so that a test of flows says what each answers.

As those of `mhfd.remote`: their source is registered, so each imports what it needs. A "tile" is a file; a shard's part
is a file part-NNNNN.json in the folder .mhfd/job. Names of files decide: a shard with a file "bad*" fails, with "dies*"
its task fails, with "slow*" it takes as long as a file "wait" is there.
"""

from __future__ import annotations


def plan_run(folder, pattern=None, params=None, options=None):  # type: ignore[no-untyped-def]
    import json
    from pathlib import Path

    if not Path(folder).is_dir():
        return {"schema": 1, "error": {"code": "bad_params", "message": f"{folder}: no such folder"}}
    job = Path(folder) / ".mhfd" / "job"
    job.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in Path(folder).iterdir() if path.is_file())
    (job / "manifest.json").write_text(json.dumps({"names": names, "shard": (options or {}).get("shard_tiles", 2)}))
    return {"schema": 1, "job": "job", "manifest": str(job / "manifest.json"), "tiles": len(names)}


def next_wave(manifest, score_shard, options=None):  # type: ignore[no-untyped-def]
    import json
    from pathlib import Path

    job = Path(manifest).parent
    about = json.loads(Path(manifest).read_text())
    firsts = range(0, len(about["names"]), about["shard"])
    missing = [n for n in firsts if not (job / f"part-{n:05}.json").exists()]
    state = "cancelled" if (job / "CANCELLED").exists() else "running"
    kwargs = [
        {"manifest": manifest, "first": n, "count": about["shard"]}
        for n in missing[: (options or {}).get("shards", 40)]
    ]
    tasks = [{"function_id": score_shard, "kwargs": each} for each in kwargs]
    stored = len(list(job.glob("part-*")))
    return {"schema": 1, "job": "job", "state": state, "missing": len(missing), "stored": stored, "tasks": tasks}


def score_shard(manifest, first, count, params=None, options=None):  # type: ignore[no-untyped-def]
    import json
    import time
    from pathlib import Path

    job = Path(manifest).parent
    names = json.loads(Path(manifest).read_text())["names"][first : first + count]
    if any(name.startswith("dies") for name in names):
        raise RuntimeError("this task fails")
    if any(name.startswith("bad") for name in names):
        return {"schema": 1, "error": {"code": "cannot_write", "message": "no part"}}
    while any(name.startswith("slow") for name in names) and (job / "wait").exists():
        time.sleep(0.02)
    (job / f"part-{first:05}.json").write_text(json.dumps(names))
    return {"schema": 1, "first": first, "count": count, "scored": len(names)}


def finish_run(manifest, params=None, reference=None, options=None):  # type: ignore[no-untyped-def]
    import json
    from pathlib import Path

    job = Path(manifest).parent
    names = json.loads(Path(manifest).read_text())["names"]
    done = [name for part in sorted(job.glob("part-*")) for name in json.loads(part.read_text())]
    about = {"rows": len(done), "failed": 0, "by_verdict": {"in_focus": len(done)}, "dataset": str(job)}
    return {"schema": 1, "complete": done == names, "missing": [], **about}
