"""Runs ``python -m MODULE ARGUMENTS`` where importing TensorFlow fails: ``no_tensorflow.py MODULE ARGUMENTS``."""

import importlib.machinery
import runpy
import sys


class Blocked:
    """An import hook under which TensorFlow is there to be found, and fails to load."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec):
        raise ImportError(f"{spec.name} was imported")

    def exec_module(self, module):
        pass


if __name__ == "__main__":
    sys.meta_path.insert(0, Blocked())
    module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
