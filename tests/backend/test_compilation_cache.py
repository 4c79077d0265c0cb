"""Compiled programs are kept where only their user writes, and found again."""

import os
import subprocess
import sys

import jax
import pytest

from alexnet_jax.backend import compilation_cache

PROGRAM = """
import jax, sys
from jax import numpy as jnp
from alexnet_jax.backend import compilation_cache
from jax._src import monitoring
hits = []
monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith("/cache_hits") else None)
print(compilation_cache.enable(sys.argv[1]))
jax.jit(lambda x: jnp.sin(x) @ x.T)(jnp.ones((64, 64))).block_until_ready()
print(len(hits))
"""


def _run(setting: str, home, **environment: str) -> tuple[str, int]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    variables = {"HOME": str(home), "XDG_CACHE_HOME": "", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, setting],
        capture_output=True,
        text=True,
        check=True,
        env=inherited | variables | environment,
    )
    directory, hits = run.stdout.split()
    return directory, int(hits)


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    first, hits = _run("auto", tmp_path)
    assert first.startswith(str(tmp_path / ".cache" / "alexnet_jax"))
    assert hits == 0
    os.chmod(first, 0o755)  # as an earlier version or a copy may have left it
    second, hits = _run("auto", tmp_path)
    assert second == first
    assert hits > 0
    assert os.stat(first).st_mode & 0o077 == 0


def test_jax_own_variable_goes_before_the_setting(tmp_path):
    own = str(tmp_path / "own")
    assert _run("auto", tmp_path, JAX_COMPILATION_CACHE_DIR=own)[0] == own


@pytest.mark.parametrize("setting", ["off", "/dev/null/not-a-directory"])
def test_without_a_directory_nothing_is_kept(tmp_path, setting):
    assert _run(setting, tmp_path) == ("None", 0)
    assert not list(tmp_path.iterdir())


def test_programs_unused_for_longest_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation_cache, "MAX_BYTES", 250)
    for age, name in enumerate(["newest", "middle", "oldest"]):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000))
    (tmp_path / "xla_gpu_per_fusion_autotune_cache_dir").mkdir()  # JAX's, on a GPU
    compilation_cache._prune(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["middle", "newest", "xla_gpu_per_fusion_autotune_cache_dir"]


def test_a_user_without_a_home_does_without(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(compilation_cache.Path, "home", homeless)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        assert compilation_cache.enable("auto") is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


STEP = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_disable_most_optimizations", True)  # compiles in a third of the time
from alexnet_jax.backend import compilation_cache
from alexnet_jax.train.loop import evaluate
from tests.train.runs import build, small_config
directory = compilation_cache.enable(sys.argv[1])
run = build(small_config(parallelism=sys.argv[2]), int(sys.argv[3]))
evaluate(run.eval_step, run.initial_state, run.eval_batches())
batch = run.strategy.place_batch(next(run.train_batches(0)))
if sys.argv[4] == "lowered":
    run.train_step.lower(run.initial_state, batch).compile()
else:
    run.train_step(run.initial_state, batch)
kept = [path.name for path in directory.iterdir()]
print(sum(name.startswith(("jit_train_step", "jit_eval_step")) for name in kept if name.endswith("-cache")))
print(sum("step" in name for name in kept if name.endswith("-cache")))
"""


@pytest.mark.parametrize(
    ("strategy", "devices", "how", "kept"),
    [
        ("jit", 1, "called", 2),
        ("jit", 2, "called", 0),
        ("jit", 2, "lowered", 0),
        ("hybrid", 2, "lowered", 0),
    ],
)
def test_a_step_over_several_cpu_devices_is_compiled_in_every_process(
    tmp_path, strategy, devices, how, kept
):
    """Read back from disk, jaxlib 0.10.2's programs for several of them wait for ever, now and then."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    run = subprocess.run(
        [sys.executable, "-c", STEP, tmp_path, strategy, str(devices), how],
        capture_output=True,
        text=True,
        check=True,
        env=inherited | {"JAX_PLATFORMS": "cpu"},
    )
    assert run.stdout.split() == [str(kept)] * 2
