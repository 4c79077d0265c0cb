"""Each case in a process of its own: a backend is chosen before JAX starts."""

import os
import subprocess
import sys

import pytest


def _activate(code: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "PJRT_", "XLA_"))
    }
    program = (
        "import sys\n"
        "from alexnet_jax.backend.activate import activate\n"
        "from alexnet_jax.errors import RequestError\n"
        "try:\n"
        f"    {code}\n"
        "except RequestError as error:\n"
        "    sys.exit(str(error))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment | variables,
    )


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_starts(name):
    run = _activate(f"print(activate({name!r})[0].platform)")
    assert (run.stdout, run.returncode) == ("cpu\n", 0)


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_an_error_and_never_the_cpu():
    run = _activate("activate('cuda')")
    assert run.returncode == 1
    assert run.stdout == ""
    assert "backend 'cuda' is not available" in run.stderr
    assert "No device node (/dev/nvidia[0-9]*, /dev/dxg) exists" in run.stderr


UNSTARTED = {
    "JAX_PLATFORMS='cdua'": (
        "Unable to initialize backend 'cdua': Backend 'cdua' is not in the list of known backends: ",
        "JAX_PLATFORMS, or choose the CPU with --config.backend=cpu or ALEXNET_JAX_BACKEND=cpu.",
    ),
    "PJRT_NAMES_AND_LIBRARY_PATHS='quantum:/nowhere.so'": (
        "INTERNAL: Failed to open /nowhere.so: /nowhere.so: cannot open shared object file",
        "PJRT_NAMES_AND_LIBRARY_PATHS.",
    ),
}


@pytest.mark.parametrize("setting", UNSTARTED)
def test_an_environment_that_jax_does_not_start_with(setting):
    name, _, value = setting.partition("=")
    said, remedy = UNSTARTED[setting]
    run = _activate("activate('auto')", **{name: value.strip("'")})
    assert run.returncode == 1
    assert run.stderr.startswith(f"JAX does not start with {setting}: {said}"), run.stderr
    assert run.stderr.endswith(f" Try: correct or unset {remedy}\n"), run.stderr
    assert run.stderr.count("\n") == 1


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has a GPU")
def test_jax_platforms_of_a_device_that_is_not_there():
    """JAX's own words are none: an empty AssertionError."""
    run = _activate("activate('auto')", JAX_PLATFORMS="cuda")
    assert run.stderr == (
        "JAX does not start with JAX_PLATFORMS='cuda': it finds no such device. Try: correct or unset JAX_PLATFORMS, "
        "or choose the CPU with --config.backend=cpu or ALEXNET_JAX_BACKEND=cpu.\n"
    )
    run = _activate("activate('cpu')", JAX_PLATFORMS="cuda")
    assert run.returncode == 0


def test_a_missing_plugin_names_the_device_node_and_what_to_try():
    run = _activate("activate('ascend')")
    assert "backend 'ascend' is not available" in run.stderr
    assert "No device node (/dev/davinci[0-9]*) exists on this machine." in run.stderr
    assert "Try: source the CANN set_env.sh" in run.stderr


def test_an_unknown_platform_is_asked_of_jax():
    run = _activate("activate('quantum')")
    assert "backend 'quantum' is not available" in run.stderr


def test_the_environment_chooses_where_the_configuration_does_not():
    run = _activate("activate('auto')", ALEXNET_JAX_BACKEND="iluvatar")
    assert "backend 'iluvatar' is not available" in run.stderr
    run = _activate("activate('cpu')", ALEXNET_JAX_BACKEND="iluvatar")
    assert run.returncode == 0


def test_a_library_that_does_not_exist():
    run = _activate("activate('ascend', '/nowhere/plugin.so')")
    assert "backend_library='/nowhere/plugin.so' does not exist." in run.stderr


def test_a_library_needs_a_name():
    run = _activate("activate('auto', '/nowhere/plugin.so')")
    assert "needs a name to load it under; add --config.backend=NAME" in run.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("auto", "need the plugin that takes them; add --config.backend=NAME."),
        ("cpu", "cannot be given to 'cpu', JAX's own; choose another --config.backend=NAME."),
    ],
)
def test_options_need_a_plugin(name, message):
    run = _activate(f"activate({name!r}, options={{'count': 2, 'log': 'x'}})")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"backend_options (count, log) {message}\n"


def test_too_late():
    run = _activate("import jax; jax.devices(); activate('ascend')")
    assert run.returncode == 1
    assert "backend 'ascend' was chosen after JAX had started on 'cpu'" in run.stderr


def test_the_environment_s_library_is_for_the_environment_s_backend():
    variables = {"ALEXNET_JAX_BACKEND_LIBRARY": "/nowhere/plugin.so"}
    run = _activate("activate('cpu')", **variables)
    assert run.returncode == 0
    run = _activate("activate('ascend')", **variables)
    assert "backend_library='/nowhere/plugin.so' does not exist." in run.stderr
    run = _activate("activate('ascend')", ALEXNET_JAX_BACKEND="iluvatar", **variables)
    assert "no installed JAX plugin provides it" in run.stderr
    run = _activate("activate('auto')", ALEXNET_JAX_BACKEND="iluvatar", **variables)
    assert "backend 'iluvatar': backend_library='/nowhere/plugin.so' does not exist." in run.stderr
