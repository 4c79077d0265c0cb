import importlib

from alexnet_jax.backend import platforms
from alexnet_jax.backend.platforms import Backend, known_backends, resolve


def test_known_rows():
    assert set(known_backends()) == {"cpu", "cuda", "ascend", "iluvatar"}


def test_the_caller_overrules_the_row():
    backend = resolve("ascend", "/opt/plugin.so", {"count": 2})
    assert backend.library == "/opt/plugin.so"
    assert backend.options == {"count": 2}
    assert backend.device_nodes == ("/dev/davinci[0-9]*",)


def test_an_unknown_name_just_works():
    assert resolve("quantum") == Backend("quantum")


def test_other_packages_add_rows(tmp_path, monkeypatch):
    """A real installed distribution: metadata on the path."""
    info = tmp_path / "vendor-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{platforms.ENTRY_POINTS}]\nquantum = vendor_rows:ROW\n"
    )
    (tmp_path / "vendor_rows.py").write_text(
        "from alexnet_jax.backend.platforms import Backend\nROW = Backend('quantum', hint='cool it.')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert resolve("quantum").hint == "cool it."
