"""Every way in which a backend does not start is one explained message and exit status 2, of the real command."""

import re
import socket
import subprocess
import sys

import pytest

from tests.backend import plugin

ASCEND_HINT = "Try: source the CANN set_env.sh, then install a PJRT plugin for Ascend"


def _refusal(tmp_path, backend: str, library: str = "", *arguments: str, **variables: str) -> str:
    command = [
        "alexnet_jax.main",
        f"--config={plugin.ROOT}/configs/imagenet.py:smoke",
        f"--workdir={tmp_path}/run",
        f"--config.backend={backend}",
        *arguments,
    ]
    command += [f"--config.backend_library={library}"] * bool(library)
    run = plugin.run(*command, cwd=tmp_path, **variables)
    assert (run.returncode, run.stdout) == (2, ""), run.stderr
    assert not (tmp_path / "run").exists()
    lines = [line for line in run.stderr.splitlines() if "is experimental and not all" not in line]
    assert len(lines) == 1, run.stderr
    return lines[0]


@pytest.mark.parametrize("vendor", ["ascend", "iluvatar", "quantum"])
def test_missing_plugin(tmp_path, vendor):
    message = _refusal(tmp_path, vendor)
    assert message.startswith(
        f"backend '{vendor}' is not available: no installed JAX plugin provides it. "
    )
    assert "Try: " in message


def test_missing_file(tmp_path):
    message = _refusal(tmp_path, "ascend", "/nowhere/plugin.so")
    assert message.startswith(
        "backend 'ascend': backend_library='/nowhere/plugin.so' does not exist. "
    )
    assert ASCEND_HINT in message


def test_missing_dependency(tmp_path):
    needed = plugin.compiled("int x;", "libascendcl")
    options = (f"-L{needed.parent}", "-Wl,--no-as-needed", "-lascendcl")
    library = plugin.compiled(plugin.SHIM.read_text(), "needy", *options)
    message = _refusal(tmp_path, "ascend", str(library))
    assert message.startswith(
        f"backend 'ascend': {library} needs libascendcl.so, which the loader cannot find. "
    )
    assert ASCEND_HINT in message
    assert message.endswith("Or add its directory to LD_LIBRARY_PATH.")


def test_not_a_plugin(tmp_path):
    library = plugin.compiled("int x;", "other")
    message = _refusal(tmp_path, "ascend", str(library))
    assert message.startswith(
        f"backend 'ascend': {library} is not a PJRT plugin: it has no function GetPjrtApi. Try: "
    )


def test_not_a_library(tmp_path):
    library = tmp_path / "plugin.so"
    library.write_text("text")
    message = _refusal(tmp_path, "ascend", str(library))
    assert (
        f"backend 'ascend': {library} cannot be loaded as a PJRT plugin ({library}: file too short)"
        in message
    )


FAULTS = {
    "silent": r"backend 'ascend': \S+/shim.so gives no PJRT functions: its GetPjrtApi returned nothing. Try: ",
    "abi_major": r"backend 'ascend' was built for another PJRT ABI than jax [\d.]+: Mismatched PJRT plugin .*"
    r"Try: install the jax and jaxlib versions that the plugin's vendor names",
    "abi_minor": r"backend 'ascend' was built for another PJRT ABI than jax [\d.]+: Plugin PJRT API version 0.20 is "
    r"older than the minimum supported version 0.29. Try: install the jax and jaxlib versions",
    "abort": r"backend 'ascend': the plugin crashed while starting \(killed by signal 6, SIGABRT: aclInit failed\). "
    r".*Try: source the CANN set_env.sh",
    "hang": r"backend 'ascend': the plugin hangs while starting \(no answer within 10 s\). .*"
    r"Try: ALEXNET_JAX_BACKEND_TIMEOUT_SECONDS=SECONDS if it needs longer; source the CANN set_env.sh",
    "no_device": r"backend 'ascend' finds no device: aclrtGetDeviceCount failed, ret=507033: no NPU device found. "
    r"No device node \(/dev/davinci\[0-9\]\*\) exists on this machine. Try: source the CANN set_env.sh",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_plugin(tmp_path, fault):
    message = _refusal(
        tmp_path,
        "ascend",
        plugin.library(),
        SHIM_FAULT=fault,
        ALEXNET_JAX_BACKEND_TIMEOUT_SECONDS="10" if fault == "hang" else "100",
    )
    assert re.match(FAULTS[fault], message), message


def test_name_registered_twice_by_a_package(tmp_path):
    package = tmp_path / "jax_plugins" / "vendor"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from jax._src import xla_bridge\n"
        f"def initialize(): xla_bridge.register_plugin('ascend', library_path={plugin.library()!r})\n"
    )
    message = _refusal(tmp_path, "ascend", plugin.library(), PYTHONPATH=f"{plugin.ROOT}:{tmp_path}")
    assert message == (
        f"backend 'ascend': two plugins register this name, the library {plugin.library()} and an installed package. "
        "Try: leave out --config.backend_library, or uninstall the package."
    )


def test_name_registered_twice_by_the_environment(tmp_path):
    entry = f"ascend:{plugin.library()}"
    message = _refusal(tmp_path, "ascend", plugin.library(), PJRT_NAMES_AND_LIBRARY_PATHS=entry)
    assert (
        f"two plugins register this name, backend_library={plugin.library()!r} and "
        f"PJRT_NAMES_AND_LIBRARY_PATHS={entry}. Try: leave out one of them." in message
    )


def test_option_of_the_wrong_type(tmp_path):
    option = "--config.backend_options.cpu_device_count=four"
    message = _refusal(tmp_path, "ascend", plugin.library(), option)
    assert message.startswith(
        "backend 'ascend' refuses its options (cpu_device_count='four'): Option passed to PJRT_Client_Create"
    )
    assert "Try: the names and types that the plugin's documentation gives" in message


def test_option_of_an_unknown_name(tmp_path):
    message = _refusal(tmp_path, "ascend", plugin.library(), "--config.backend_options.speed=9")
    assert "refuses its options (speed=9): Unexpected option name" in message


def test_time_limit_that_is_no_number(tmp_path):
    variables = {"ALEXNET_JAX_BACKEND_TIMEOUT_SECONDS": "soon"}
    message = _refusal(tmp_path, "ascend", plugin.library(), **variables)
    assert (
        message == "ALEXNET_JAX_BACKEND_TIMEOUT_SECONDS='soon' is not a number of seconds above 0."
    )


def test_the_cpu_has_no_library(tmp_path):
    message = _refusal(tmp_path, "cpu", plugin.library())
    assert "cannot be loaded as 'cpu', JAX's own; choose another --config.backend=NAME." in message


def test_chosen_too_late(tmp_path):
    """A recipe that touches a device before the backend is chosen: the whole command refuses."""
    recipe = tmp_path / "hasty.py"
    recipe.write_text(
        "import jax\n"
        "from alexnet_jax.config import default_config, smoke\n"
        "def get_config():\n"
        "    jax.devices()\n"
        "    config = default_config()\n"
        "    smoke(config)\n"
        "    return config\n"
    )
    run = plugin.run(
        "alexnet_jax.main",
        f"--config={recipe}",
        "--config.backend=ascend",
        f"--config.backend_library={plugin.library()}",
        cwd=tmp_path,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == (
        "backend 'ascend' was chosen after JAX had started on 'cpu', which cannot be changed. Try: choose it before "
        "the first use of a device, or set ALEXNET_JAX_BACKEND=ascend.\n"
    )


def test_ignored_distributed_settings(tmp_path):
    """Two processes; the plugin drops what JAX tells it of them, so each sees itself alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = (
        "import sys, jax\n"
        f"jax.distributed.initialize('127.0.0.1:{port}', 2, int(sys.argv[1]), initialization_timeout=60)\n"
        "from alexnet_jax.main import main\n"
        f"status = main(['main', '--config={plugin.ROOT}/configs/imagenet.py:smoke', '--config.backend=ascend',\n"
        f"    '--config.backend_library={plugin.library()}'])\n"
        "sys.stderr.flush()\n"
        "import os; os._exit(status)  # the processes do not end together\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rank)],
            cwd=tmp_path,
            env=plugin.environment(SHIM_FAULT="ignore_nodes"),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2, errors
        assert (
            "backend 'ascend' ignores the distributed settings: 2 processes were started, and this one sees 1; they "
            "would be 2 separate trainings. Try: one process for all devices" in errors
        )
